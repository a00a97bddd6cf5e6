#include "top/parts.h"

static const struct {
	const char *name, *block, *letter;
	enum line_style style;
} PHASES[TOP_PHASE_COUNT] = {
	[TOP_DETECT] = {"detect", "█", "d", LINE_BAD},
	[TOP_FENCE] = {"fence", "▚", "f", LINE_HEADER},
	[TOP_SURVEY] = {"survey", "▓", "s", LINE_WARN},
	[TOP_PROMOTE] = {"promote", "▒", "p", LINE_PLAIN},
	[TOP_OPEN] = {"open", "░", "o", LINE_GOOD},
};

const char *phase_name(enum top_phase phase)
{
	return PHASES[phase].name;
}

uint64_t phases_of(const Mha__Client__Decision *decision, uint64_t us[TOP_PHASE_COUNT])
{
	uint64_t sum = 0;

	us[TOP_DETECT] = decision->detect_us;
	us[TOP_FENCE] = decision->fence_us;
	us[TOP_SURVEY] = decision->survey_us;
	us[TOP_PROMOTE] = decision->promote_us;
	us[TOP_OPEN] = decision->open_us > decision->promote_us
			       ? decision->open_us - decision->promote_us
			       : 0;
	for (unsigned i = 0; i < TOP_PHASE_COUNT; i++)
		sum += us[i];
	return sum;
}

void waterfall_cells(const uint64_t us[TOP_PHASE_COUNT], unsigned width,
		     unsigned cells[TOP_PHASE_COUNT])
{
	uint64_t total = 0, before = 0;
	unsigned drawn = 0, some = 0, left;

	for (unsigned i = 0; i < TOP_PHASE_COUNT; i++) {
		cells[i] = 0;
		total += us[i];
		some += us[i] > 0;
	}
	if (total == 0)
		return;
	/* One cell each where that is possible, the others to scale. */
	left = width >= some ? width - some : width;
	for (unsigned i = 0; i < TOP_PHASE_COUNT; i++) {
		unsigned end;

		before += us[i];
		end = (unsigned)((double)before / (double)total * left + 0.5);
		cells[i] = end - drawn + (width >= some && us[i] > 0 ? 1 : 0);
		drawn = end;
	}
}

void put_waterfall(const uint64_t us[TOP_PHASE_COUNT], unsigned width, bool ascii,
		   struct lines *lines)
{
	unsigned cells[TOP_PHASE_COUNT];

	waterfall_cells(us, width, cells);
	for (unsigned i = 0; i < TOP_PHASE_COUNT; i++) {
		for (unsigned cell = 0; cell < cells[i]; cell++)
			lines_put(lines, PHASES[i].style, "%s",
				  ascii ? PHASES[i].letter : PHASES[i].block);
	}
}

void put_waterfall_legend(bool ascii, struct lines *lines)
{
	for (unsigned i = 0; i < TOP_PHASE_COUNT; i++) {
		lines_put(lines, PHASES[i].style, "%s%s", i > 0 ? " " : "",
			  ascii ? PHASES[i].letter : PHASES[i].block);
		lines_put(lines, LINE_DIM, " %s", PHASES[i].name);
	}
}

int spark_level(int64_t value, int64_t most)
{
	if (value < 0)
		return -1;
	if (most <= 0)
		return 0;
	return value >= most ? 7 : (int)((double)value * 7 / (double)most);
}

void put_spark(const int64_t *values, unsigned count, unsigned width, bool ascii,
	       struct lines *lines)
{
	static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char *const letters[] = {"_", ".", "-", "=", "+", "*", "%", "#"};
	unsigned first = count > width ? count - width : 0;
	int64_t most = 0;

	for (unsigned i = first; i < count; i++)
		most = values[i] > most ? values[i] : most;
	for (unsigned i = first; i < count; i++) {
		int level = spark_level(values[i], most);

		lines_put(lines, LINE_PLAIN, "%s",
			  level < 0 ? " "
			  : ascii   ? letters[level]
				    : blocks[level]);
	}
}

void put_bar(uint64_t part, uint64_t whole, unsigned width, bool ascii, struct lines *lines)
{
	unsigned full = 0;

	if (whole > 0)
		full = part >= whole ? width : (unsigned)((double)part / (double)whole * width);
	for (unsigned i = 0; i < width; i++)
		lines_put(lines, i < full ? LINE_GOOD : LINE_DIM, "%s",
			  i >= full ? "."
			  : ascii   ? "#"
				    : "█");
}

unsigned race_cell(int64_t lag, int64_t most, unsigned width)
{
	if (width == 0)
		return 0;
	if (lag <= 0 || most <= 0)
		return width - 1;
	if (lag >= most)
		return 0;
	return (unsigned)((1 - (double)lag / (double)most) * (width - 1));
}

void put_race(int64_t lag, int64_t most, unsigned width, bool ascii, struct lines *lines)
{
	const unsigned at = race_cell(lag, most, width);

	for (unsigned i = 0; i < width; i++) {
		if (i == at)
			lines_put(lines, lag > 0 ? LINE_WARN : LINE_GOOD, "%s", ascii ? ">" : "▶");
		else
			lines_put(lines, LINE_DIM, "%s",
				  i < at  ? (ascii ? "-" : "─")
				  : ascii ? "."
					  : "·");
	}
}
