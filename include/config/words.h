/* Text into words as a shell does it: spaces separate, '...' and "..." and '\' protect. Nothing is expanded. */
#ifndef CSERVE_CONFIG_WORDS_H
#define CSERVE_CONFIG_WORDS_H

#include "config/settings.h"

/* Appends the words to `words`; string_list_release() of config/value.h frees them. False if a quote is left open. */
bool words_split(const char *text, struct string_list *words);

#endif
