/* The quoting of sh(1) (POSIX, Shell Command Language, 2.2), and nothing else of it: no variable, no pattern, no
 * comment. */
#include "config/words.h"

#include "config/value.h"

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Appends what stands between quotes; *next points behind the opening one, then behind the closing one. */
static bool read_quoted(const char **next, char quote, struct buf *word) {
    const char *c = *next;
    for (; *c && *c != quote; c++) {
        /* Between double quotes '\' protects only what would be special there. */
        if (quote == '"' && *c == '\\' && c[1] && strchr("\"\\$`\n", c[1])) c++;
        buf_append_char(word, *c);
    }
    *next = *c ? c + 1 : c;
    return *c == quote;
}

/* Appends one word; false if a quote is left open. */
static bool read_word(const char **next, struct buf *word) {
    while (**next && !is_space(**next)) {
        char c = *(*next)++;
        if (c == '\'' || c == '"') {
            if (!read_quoted(next, c, word)) return false;
        } else if (c == '\\' && **next) {
            buf_append_char(word, *(*next)++);
        } else {
            buf_append_char(word, c);
        }
    }
    return true;
}

bool words_split(const char *text, struct string_list *words) {
    struct buf word = BUF_INIT;
    bool is_closed = true;
    while (is_closed) {
        while (is_space(*text)) text++;
        if (!*text) break;
        buf_reset(&word);
        is_closed = read_word(&text, &word);
        if (is_closed) string_list_append(words, buf_cstr(&word), word.len);
    }
    buf_release(&word);
    return is_closed;
}
