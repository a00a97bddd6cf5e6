#include "picture.h"

#include <math.h>
#include <string.h>

#include "base/macros.h"
#include "core/agent.h"

#define WIDTH      1060
#define HEIGHT     710
#define BOX_WIDTH  116
#define BOX_HEIGHT 40
#define LABEL_SIZE 96
/* How far an arrow bends away from the straight line, as a part of its length. */
#define BEND 0.16

struct point {
	double x, y;
};

struct place {
	struct point at;
	const char *fill;
};

/* By phase. Waiting is grey, serving green, deciding blue, acting yellow, help needed red. */
static const struct place places[PHASE_COUNT] = {
	[PHASE_FOLLOWING] = {{520, 60}, "#eef2f7"}, [PHASE_BOOTSTRAP] = {{120, 60}, "#f3ecd2"},
	[PHASE_STEADY] = {{950, 440}, "#cfe8d5"},   [PHASE_SURVEY] = {{520, 470}, "#dbe7f6"},
	[PHASE_ASSIGN] = {{240, 480}, "#dbe7f6"},   [PHASE_HANDOVER] = {{300, 270}, "#f3ecd2"},
	[PHASE_PROMOTE] = {{950, 90}, "#f3ecd2"},   [PHASE_OPENING] = {{950, 260}, "#f3ecd2"},
	[PHASE_BLOCKED] = {{90, 300}, "#f6dcdc"},   [PHASE_SWITCH] = {{860, 620}, "#cfe8d5"},
	[PHASE_HALT] = {{330, 610}, "#f3ecd2"},     [PHASE_PAUSED] = {{690, 250}, "#eef2f7"},
};

/* Where the line from the middle of a box towards `to` leaves the box. */
static struct point border(struct point from, struct point to)
{
	double x = to.x - from.x;
	double y = to.y - from.y;
	double by_x = x == 0 ? 1e9 : BOX_WIDTH / 2.0 / fabs(x);
	double by_y = y == 0 ? 1e9 : BOX_HEIGHT / 2.0 / fabs(y);
	double part = by_x < by_y ? by_x : by_y;

	return (struct point){from.x + x * part, from.y + y * part};
}

/* The numbers of all rows that lead from one phase to another: "3, 7". Empty: none does. */
static void numbers(unsigned from, unsigned to, char text[LABEL_SIZE])
{
	size_t used = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < leader_rule_count(); i++) {
		struct leader_rule_info rule = leader_rule(i);
		int length;

		if (rule.phase != from || rule.next != to)
			continue;
		length = snprintf(text + used, LABEL_SIZE - used, "%s%u", used == 0 ? "" : ", ",
				  i + 1);
		if (length < 0 || (size_t)length >= LABEL_SIZE - used)
			return;
		used += (size_t)length;
	}
}

static void arrow(FILE *to, unsigned from_phase, unsigned to_phase, const char *label)
{
	struct point from = places[from_phase].at;
	struct point until = places[to_phase].at;
	/* To the right of the way, so that there and back are two arrows. */
	struct point bend = {
		(from.x + until.x) / 2 - (until.y - from.y) * BEND,
		(from.y + until.y) / 2 + (until.x - from.x) * BEND,
	};
	struct point begin = border(from, bend);
	struct point end = border(until, bend);
	/* A little nearer to the beginning: where two arrows cross, both labels can be read. */
	double part = 0.42;
	struct point label_at = {
		(1 - part) * (1 - part) * begin.x + 2 * part * (1 - part) * bend.x +
			part * part * end.x,
		(1 - part) * (1 - part) * begin.y + 2 * part * (1 - part) * bend.y +
			part * part * end.y,
	};

	(void)fprintf(to,
		      "<path d=\"M%.0f %.0fQ%.0f %.0f %.0f %.0f\" fill=\"none\" stroke=\"#68788c\" "
		      "marker-end=\"url(#head)\"/>\n",
		      begin.x, begin.y, bend.x, bend.y, end.x, end.y);
	(void)fprintf(to,
		      "<text x=\"%.0f\" y=\"%.0f\" text-anchor=\"middle\" font-size=\"11\" "
		      "stroke=\"#ffffff\" stroke-width=\"4\" paint-order=\"stroke\">%s</text>\n",
		      label_at.x, label_at.y + 4, label);
}

static void box(FILE *to, unsigned phase)
{
	const struct place *place = &places[phase];

	(void)fprintf(to,
		      "<rect x=\"%.0f\" y=\"%.0f\" width=\"%d\" height=\"%d\" rx=\"8\" fill=\"%s\" "
		      "stroke=\"#68788c\"/>\n",
		      place->at.x - BOX_WIDTH / 2.0, place->at.y - BOX_HEIGHT / 2.0, BOX_WIDTH,
		      BOX_HEIGHT, place->fill);
	(void)fprintf(to, "<text x=\"%.0f\" y=\"%.0f\" text-anchor=\"middle\">%s</text>\n",
		      place->at.x, place->at.y + 5, leader_phase_name(phase));
}

void picture_svg(FILE *to)
{
	char label[LABEL_SIZE];

	(void)fprintf(to,
		      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
		      "font-family=\"sans-serif\" font-size=\"14\">\n"
		      "<defs><marker id=\"head\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" "
		      "markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">"
		      "<path d=\"M0 0L10 5L0 10z\" fill=\"#68788c\"/></marker></defs>\n"
		      "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n",
		      WIDTH, HEIGHT, WIDTH, HEIGHT);
	for (unsigned from = 0; from < PHASE_COUNT; from++)
		for (unsigned next = 0; next < PHASE_COUNT; next++) {
			numbers(from, next, label);
			if (from != next && label[0] != '\0')
				arrow(to, from, next, label);
		}
	for (unsigned phase = 0; phase < PHASE_COUNT; phase++)
		box(to, phase);
	(void)fprintf(to,
		      "<text x=\"20\" y=\"%d\" font-size=\"12\" fill=\"#444\">Numbers are rows of "
		      "the table; whoever loses the leadership goes back to %s from any "
		      "phase.</text>\n</svg>\n",
		      HEIGHT - 16, leader_phase_name(PHASE_FOLLOWING));
}
