/* The descriptors that tie the processes together; opened once, before the first fork. */
#ifndef CSERVE_PROCESS_LINKS_H
#define CSERVE_PROCESS_LINKS_H

#include <sys/types.h>

struct links {
    pid_t arbiter_pid;
    /* Workers write a byte when their row has changed; the arbiter reads. A full pipe loses nothing: the rows hold the
     * news. */
    int news[2];
    /* Only the arbiter holds the writing end: the reading end reports its death to everybody else. */
    int lifeline[2];
    /* SOCK_SEQPACKET: connections that one worker gives ([1]) and another takes ([0]). */
    int handover[2];
};

/* -1 with errno. */
int links_open(struct links *l);
/* In a child: closes what belongs to the arbiter alone. */
void links_keep_child_ends(struct links *l);
/* By the worker: "look at my row". */
void links_tell_arbiter(const struct links *l);
/* By the arbiter: empties the pipe of news. */
void links_drain_news(const struct links *l);

#endif
