#include "threads.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif

#ifdef __linux__
/* The quota of one group in whole cores; 0: none. */
static int quota_in(const char *folder, int v2)
{
    char path[700];
    long quota = -1, period = 0;
    snprintf(path, sizeof path, v2 ? "%s/cpu.max" : "%s/cpu.cfs_quota_us", folder);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    /* v2: "max 100000" or "200000 100000"; v1: two files */
    int found = v2 ? fscanf(f, "%ld %ld", &quota, &period) : fscanf(f, "%ld", &quota);
    fclose(f);
    if (!v2 && found == 1) {
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
        if ((f = fopen(path, "re"))) {
            found += fscanf(f, "%ld", &period);
            fclose(f);
        }
    }
    if (found != 2 || quota <= 0 || period <= 0)
        return 0;
    return (int)((quota + period - 1) / period);
}

/* The least quota of a group and those above it, as /proc/self/cgroup names it. */
static int cgroup_cpus(void)
{
    char line[512], folder[640];
    int least = 0;
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *control = strchr(line, ':'), *path = control ? strchr(control + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        control++;
        int v2 = !*control, mine = v2;
        for (char *c = strtok(control, ","); c; c = strtok(NULL, ","))
            mine = mine || !strcmp(c, "cpu");
        if (!mine)
            continue;
        const char *root = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu";
        snprintf(folder, sizeof folder, "%s%s", root, path);
        for (size_t end = strlen(folder); end >= strlen(root);) {
            int cpus = quota_in(folder, v2);
            if (cpus && (!least || cpus < least))
                least = cpus;
            while (end > 0 && folder[end] != '/')
                end--;
            folder[end] = 0;
        }
    }
    fclose(f);
    return least;
}
#endif

int ft_usable_cpus(void)
{
    long n = 0;
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
#endif
    if (n < 1)
        n = sysconf(_SC_NPROCESSORS_ONLN);
    if (n < 1)
        n = 1;
#ifdef __linux__
    int quota = cgroup_cpus();
    if (quota && quota < n)
        n = quota;
#endif
    return (int)n;
}
