/* Workspaces of the kernels that pack their operands: memory that outlives a step, as fresh pages
 * cost as much as the packing. */
#ifndef FUNCTRANS_SPACE_H
#define FUNCTRANS_SPACE_H

#include <stddef.h>

/* 64-byte aligned, contents undefined; NULL if there is no memory. Any thread. */
char *ft_space_take(size_t size);
void ft_space_give(char *p);

#endif
