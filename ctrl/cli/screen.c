/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/cli/screen.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define CURSOR_HOME "\033[H"
#define LINE_CLEAR "\033[K"
#define BELOW_CLEAR "\033[J"

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

void screen_init(struct screen *screen, bool plain)
{
	const struct sigaction action = {.sa_handler = interrupt};

	*screen = (struct screen){.in_place = !plain && isatty(STDOUT_FILENO)};
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

/* Lines beyond the terminal's last would push the first ones out. */
static unsigned int rows_visible(void)
{
	struct winsize size = {0};

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1 ? size.ws_row - 1u : 1000;
}

void screen_show(struct screen *screen, const char *text)
{
	unsigned int rows = rows_visible();

	if (!screen->in_place) {
		fputs(text, stdout);
		fflush(stdout);
		return;
	}
	fputs(screen->shown ? CURSOR_HOME : CURSOR_HOME BELOW_CLEAR, stdout);
	while (*text && rows--) {
		size_t length = strcspn(text, "\n");

		printf("%.*s" LINE_CLEAR "\n", (int)length, text);
		text += length + (text[length] == '\n');
	}
	fputs(BELOW_CLEAR, stdout);
	fflush(stdout);
	screen->shown = true;
}

bool screen_wait(uint64_t interval_ms)
{
	struct timespec rest = {.tv_sec = (time_t)(interval_ms / 1000), .tv_nsec = (long)(interval_ms % 1000) * 1000000};

	if (!interrupted)
		nanosleep(&rest, NULL); /* a signal ends it early */
	return !interrupted;
}
