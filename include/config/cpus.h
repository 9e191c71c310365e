/* How many CPUs this process may use: sched_getaffinity(2), and the control group's quota (cgroups(7), versions 1 and
 * 2). */
#ifndef CSERVE_CONFIG_CPUS_H
#define CSERVE_CONFIG_CPUS_H

/* At least 1. `root` stands in front of /proc and /sys: "" outside tests. A quota counts rounded up: 1.5 CPUs keep two
 * workers busy. */
unsigned cpus_usable(const char *root);

#endif
