/* How many threads runs may use: see settings.c; the functions that others call are in threads.h. */
#ifndef FUNCTRANS_SETTINGS_H
#define FUNCTRANS_SETTINGS_H

#define FT_MOST_THREADS 256

/* Once, when the module loads. */
void ft_settings_init(void);

#endif
