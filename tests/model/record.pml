/*
 * Data and record: who holds which WAL, what the database enforces (rule), what the log says
 * (record), and who may become primary. docs/model.md has the mapping to the program.
 *
 * Every step of the protocol is one indivisible transition; all orders of the steps are explored.
 * A node that is cut off, frozen or down is a node that takes no steps for a while, so there are no
 * steps for that. The lease is one variable here (`open`): that no two nodes hold it is what
 * lease.pml proves.
 *
 * Bounds, given with -D: NODES data nodes, SYNC = k, RECORDS positions of WAL, TIMELINES promotions,
 * counting the first, LOSSES lost disks, DEGRADE = 1 for max_availability, ACCEPT failovers in
 * which a person accepts a loss, EMPTY = 1 to begin with a first primary and nobody in S. CALM leaves
 * steps out, for a shorter way to a planted bug: 1 the crashes of standbys and surveys that lead to
 * nothing, 2 the changes of rule and record, too.
 */
#ifndef NODES
#define NODES 3
#endif
#ifndef SYNC
#define SYNC 1
#endif
#ifndef RECORDS
#define RECORDS 3
#endif
#ifndef TIMELINES
#define TIMELINES 3
#endif
#ifndef LOSSES
#define LOSSES 1
#endif
#ifndef DEGRADE
#define DEGRADE 0
#endif
#ifndef ACCEPT
#define ACCEPT 0
#endif
#ifndef EMPTY
#define EMPTY 0
#endif
#ifndef CALM
#define CALM 0
#endif
#ifndef SNAPSHOT
#define SNAPSHOT 0
#endif
#define EARLIER 3
#define NOBODY 15

#define ABSENT 0
#define STANDBY 1
#define PRIMARY 2

/*
 * WAL as a number: three bits for each position, the timeline that wrote it, 0 for no record. A
 * timeline is written by one node only, so equal digits at equal places are the same record
 * exactly when everything before is equal, too.
 */
#define AT(w, i)     (((w) >> (3 * (i))) & 7)
#define LENGTH(w)    (((w) > 0) + ((w) > 7) + ((w) > 63) + ((w) > 511) + ((w) > 4095))
#define CUT(w, l)    ((w) & ((1 << (3 * (l))) - 1))
#define PREFIX(a, b) ((a) == CUT(b, LENGTH(a)))
/* The same as the recorded lineage up to there. */
#define SAME(w, i)   (AT(w, i) != 0 && AT(w, i) == AT(lineage, i))
#define USABLE(w)    (SAME(w, 0) * (1 + SAME(w, 1) * (1 + SAME(w, 2) * (1 + SAME(w, 3) * \
                      (1 + SAME(w, 4))))))
#define DIVERGED(w)  (LENGTH(w) > USABLE(w))

/* Sets of nodes are bits; a rule or a record is a set and a number above it. */
#define BIT(n)       (1 << (n))
#define IN(s, n)     (((s) >> (n)) & 1)
#define COUNT(s)     (((s) & 1) + (((s) >> 1) & 1) + (((s) >> 2) & 1))
#define RULE(s, k)   ((s) | ((k) << 4))
#define MEMBERS(r)   ((r) & 15)
#define NEED(r)      ((r) >> 4)
#define CLOSED       RULE(0, SYNC)
#define ALL          ((1 << NODES) - 1)

#define COVERS(d, r) (NEED(r) == 0 || NEED(d) >= COUNT(MEMBERS(d) & ~MEMBERS(r)) + NEED(r))
#define ANSWERS(r)   (NEED(r) > COUNT(MEMBERS(r)) -> 0 : COUNT(MEMBERS(r)) - NEED(r) + 1)

byte db[NODES] = STANDBY;
short wal[NODES];
byte upstream[NODES];   /* whom its receiver asks, plus one; 0: nobody */
bool promised[NODES];   /* an epoch beyond the recorded one; on disk */
byte rule[NODES];       /* in force in its database; read back */
byte ordered[NODES];    /* the rule that a reload spreads, both are in force until it is read back */
byte timeline[NODES];   /* of a primary */

/* The replicated state. */
byte primary;
bool opened = true;
byte record;
byte earlier_count;
byte earlier[EARLIER];
byte earlier_primary[EARLIER];
byte rebuilding;
short lineage;
byte timeline_now = 1;
byte timeline_max = 1;
byte open_at;

/* The leader. */
byte since;             /* where the primary's WAL ended when its rule was read back */
byte answered;          /* who has answered the survey; nobody: there is none */
/*
 * Positions as they were answered. A promise keeps a standby's WAL as it is, so it is the same as
 * its WAL, unless the disk is lost after the answer, a running primary writes after it, or a bug is
 * planted. Without SNAPSHOT who has answered does neither until the survey is over.
 */
#if SNAPSHOT
short position[NODES];
byte running;           /* answered as the running primary */
#define POSITION(n) position[n]
#define RUNNING     running
#define STILL(n)    true
#else
#define POSITION(n) wal[n]
#define STILL(n)    (!IN(answered, n))
#if NODES == 3
#define RUNNING     (answered & ((db[0] == PRIMARY) + 2 * (db[1] == PRIMARY) + 4 * (db[2] == PRIMARY)))
#else
#define RUNNING     (answered & ((db[0] == PRIMARY) + 2 * (db[1] == PRIMARY)))
#endif
#endif

/* The world. */
byte open;              /* the node whose clients are let in, plus one */
short acknowledged;     /* WAL that clients were told is safe */
byte lost_disks;
byte accepted;

/* Work space of single steps: no part of the state. */
hidden byte i;
hidden byte j;
hidden byte p;
hidden byte usable[NODES];
hidden byte longest;
hidden byte owed;       /* who has so much has all that was acknowledged */
hidden byte end;
hidden byte counting;
hidden byte next;
hidden byte follow;
hidden byte enough;
hidden byte chosen;

#define STREAMS(b, a) (db[b] == STANDBY && upstream[b] == (a) + 1 && PREFIX(wal[b], wal[a]))
#define HAS(b, a, l)  ((b) != (a) && STREAMS(b, a) && LENGTH(wal[b]) >= (l))
#if NODES == 3
#define HOLDERS(s, a, l) ((IN(s, 0) && HAS(0, a, l)) + (IN(s, 1) && HAS(1, a, l)) + \
                          (IN(s, 2) && HAS(2, a, l)))
#define STREAMING(a)     ((0 != (a) && STREAMS(0, a)) + 2 * (1 != (a) && STREAMS(1, a)) + \
                          4 * (2 != (a) && STREAMS(2, a)))
#else
#define HOLDERS(s, a, l) ((IN(s, 0) && HAS(0, a, l)) + (IN(s, 1) && HAS(1, a, l)))
#define STREAMING(a)     ((0 != (a) && STREAMS(0, a)) + 2 * (1 != (a) && STREAMS(1, a)))
#endif
#define SATISFIED(r, a, l) (HOLDERS(MEMBERS(r), a, l) >= NEED(r))

/*
 * Whatever a rule in force allows to acknowledge is acknowledged at once: later would not be worse.
 * A primary that admits clients without what they were told before has lost it.
 */
inline acknowledge()
{
	if
	:: open != 0 && db[open - 1] == PRIMARY ->
		p = open - 1;
		assert(PREFIX(acknowledged, wal[p])); /* I2 */
		i = LENGTH(wal[p]);
		do
		:: i > LENGTH(acknowledged) && (SATISFIED(rule[p], p, i) || SATISFIED(ordered[p], p, i)) ->
			acknowledged = CUT(wal[p], i);
			break
		:: i > LENGTH(acknowledged) && !(SATISFIED(rule[p], p, i) || SATISFIED(ordered[p], p, i)) ->
			i--
		:: i <= LENGTH(acknowledged) -> break
		od
	:: else
	fi;
	skip
}

/* I3: what is in force where clients are let in covers what is on record. */
inline check_covers()
{
	assert(open != primary + 1 || !opened ||
	       (COVERS(rule[primary], record) && COVERS(ordered[primary], record)))
}

/* Whoever is not on record and has no lease acknowledges nothing any more: its rule is no matter. */
inline retire(n)
{
	if
	:: n != primary && open != n + 1 ->
		rule[n] = CLOSED;
		ordered[n] = CLOSED
	:: else
	fi;
	skip
}

inline stop_survey()
{
	answered = 0;
#if SNAPSHOT
	running = 0;
	i = 0;
	do
	:: i < NODES -> position[i] = 0; i++
	:: else -> break
	od;
#endif
	skip
}

/* Those planted bugs break I3 at once; what they cost is the loss that follows. */
#if defined(BUG_NAMES_BEFORE_RECORD) || defined(BUG_DEGRADE_DATABASE_FIRST)
#define CHECK_COVERS skip
#else
#define CHECK_COVERS check_covers()
#endif

/* Planted with the order of rule and record goes the check that would stop it. */
#if defined(BUG_NAMES_BEFORE_RECORD) || defined(BUG_DEGRADE_DATABASE_FIRST) || \
	defined(BUG_NO_FLUSH_BARRIER)
#define MAY_SERVE true
#else
#define MAY_SERVE COVERS(rule[primary], record)
#endif

#ifdef BUG_PROMISE_IN_MEMORY
#define STANDBY_CRASHES(n) promised[n]
#else
#define STANDBY_CRASHES(n) (CALM == 0 && upstream[n] != 0)
#endif

/* What a node does by itself. */
proctype node(byte me)
{
	do
	/* Somebody writes: a client, or the database itself behind its fence. */
	:: d_step {
		db[me] == PRIMARY && (primary == me || open == me + 1) && LENGTH(wal[me]) < RECORDS &&
		STILL(me) ->
		printf("%c writes on timeline %d\n", 'A' + me, timeline[me]);
		wal[me] = wal[me] | (timeline[me] << (3 * LENGTH(wal[me])));
		acknowledge();
		skip
	   }
	/* One more record arrives and is flushed. */
	:: d_step {
		db[me] == STANDBY && upstream[me] != 0 && db[upstream[me] - 1] == PRIMARY &&
		LENGTH(wal[me]) < LENGTH(wal[upstream[me] - 1]) && PREFIX(wal[me], wal[upstream[me] - 1]) ->
		printf("%c receives a record of %c\n", 'A' + me, 'A' + upstream[me] - 1);
		wal[me] = CUT(wal[upstream[me] - 1], LENGTH(wal[me]) + 1);
		acknowledge();
		skip
	   }
	/*
	 * The database or the host crashes, or the agent stops the database. It starts again as a
	 * standby without an upstream, under a rule that nobody can satisfy.
	 */
	:: d_step {
		db[me] == PRIMARY || (db[me] == STANDBY && STANDBY_CRASHES(me)) ->
		printf("%c crashes and starts as a standby\n", 'A' + me);
		db[me] = STANDBY;
		upstream[me] = 0;
		rule[me] = CLOSED;
		ordered[me] = CLOSED;
		timeline[me] = 0;
#ifdef BUG_PROMISE_IN_MEMORY
		promised[me] = false;
#endif
		if
		:: open == me + 1 -> open = 0
		:: else
		fi;
		if
		:: primary == me -> since = 0
		:: else
		fi;
		skip
	   }
#if LOSSES
	:: d_step {
		db[me] != ABSENT && lost_disks < LOSSES && STILL(me) ->
		printf("%c loses its disk\n", 'A' + me);
		lost_disks++;
		db[me] = ABSENT;
		promised[me] = false;
		wal[me] = 0;
		upstream[me] = 0;
		rule[me] = CLOSED;
		ordered[me] = CLOSED;
		timeline[me] = 0;
		if
		:: open == me + 1 -> open = 0
		:: else
		fi;
		if
		:: primary == me -> since = 0
		:: else
		fi;
		skip
	   }
#endif
	/* Asked by the leader: fence closed, receiver stopped, promise on disk, then a position. */
	:: d_step {
		!IN(answered, me) &&
		(db[me] == STANDBY ||
		 (db[me] == PRIMARY && primary == me && (!opened || timeline[me] == timeline_now))) ->
		printf("%c promises and answers\n", 'A' + me);
		promised[me] = true;
#ifndef BUG_SURVEY_WITH_RECEIVER
		upstream[me] = 0;
#endif
		if
		:: open == me + 1 -> open = 0; retire(me)
		:: else
		fi;
		answered = answered | BIT(me);
#if SNAPSHOT
		position[me] = wal[me];
		if
		:: db[me] == PRIMARY -> running = running | BIT(me)
		:: else
		fi;
#endif
		skip
	   }
#ifdef BUG_SURVEY_WITH_RECEIVER
	:: d_step {
		promised[me] && upstream[me] != 0 -> upstream[me] = 0
	   }
#endif
	/* It may take WAL of the recorded epoch, and its own is a part of the lineage. */
	:: d_step {
		db[me] == STANDBY && !promised[me] && opened && primary != me &&
		upstream[me] != primary + 1 && !DIVERGED(wal[me]) ->
		printf("%c follows %c\n", 'A' + me, 'A' + primary);
		upstream[me] = primary + 1;
		acknowledge();
		skip
	   }
	/*
	 * Rewound or cloned. It answers as a standby only when it has got as far as the primary was
	 * then; a commit may have been acknowledged by what it was before.
	 */
	:: d_step {
		IN(rebuilding, me) && opened && db[primary] == PRIMARY && !promised[me] &&
		(db[me] == ABSENT || (db[me] == STANDBY && DIVERGED(wal[me]))) ->
		printf("%c is rebuilt from %c\n", 'A' + me, 'A' + primary);
		db[me] = STANDBY;
		upstream[me] = 0;
#ifdef BUG_REBUILT_LAGS
		wal[me] = CUT(wal[me], USABLE(wal[me]))
#else
		wal[me] = wal[primary]
#endif
	   }
#ifdef BUG_CLONE_WHILE_IN_S
	:: d_step {
		db[me] == STANDBY && primary != me && db[(me + 1) % NODES] == STANDBY &&
		primary != (me + 1) % NODES ->
		printf("%c is cloned from %c\n", 'A' + me, 'A' + (me + 1) % NODES);
		wal[me] = wal[(me + 1) % NODES];
		upstream[me] = 0
	   }
	:: d_step {
		db[me] == STANDBY && primary != me && db[(me + 2) % NODES] == STANDBY &&
		primary != (me + 2) % NODES && NODES > 2 ->
		printf("%c is cloned from %c\n", 'A' + me, 'A' + (me + 2) % NODES);
		wal[me] = wal[(me + 2) % NODES];
		upstream[me] = 0
	   }
#endif
	od;
	skip
}

/* The serving primary leads, holds the lease, and no survey is under way. */
#define TENDS (open == primary + 1 && opened && answered == 0 && db[primary] == PRIMARY && \
               !promised[primary])
#define CERTAIN (rule[primary] == ordered[primary])
#define WANTS_REBUILD(n) ((n) != primary && !IN(rebuilding, n) && \
                          (db[n] == ABSENT || (db[n] == STANDBY && !promised[n] && DIVERGED(wal[n]))))

/*
 * One step from (rule, record) to a target, as sync_next_step() has it. Whom the leader would like
 * to have in S, and when, is left open: the members on record and those that stream, any of them.
 */
#define TARGET_OK(s) (((s) & (rebuilding | BIT(primary))) == 0 && \
                         ((s) & ~(MEMBERS(record) | STREAMING(primary))) == 0)

#ifdef BUG_NAMES_BEFORE_RECORD
#define RULE_FIRST(t) (COVERS(t, record) || NEED(t) > 0)
#else
#ifdef BUG_DEGRADE_DATABASE_FIRST
#define RULE_FIRST(t) (COVERS(t, record) || NEED(t) < NEED(record))
#else
#define RULE_FIRST(t) COVERS(t, record)
#endif
#endif

#ifdef BUG_NO_FLUSH_BARRIER
#define BARRIER(t) true
#else
#define BARRIER(t) (COVERS(record, t) || HOLDERS(MEMBERS(t), primary, since) >= NEED(t))
#endif

#define LOWER(a, b) ((a) < (b) -> (a) : (b))
#define BETWEEN(t)  RULE(MEMBERS(record) | MEMBERS(rule[primary]) | MEMBERS(t), \
                         LOWER(LOWER(NEED(record), NEED(rule[primary])), NEED(t)))

inline tend(s, k)
{
	next = RULE(s, k);
	if
	:: TARGET_OK(s) ->
		if
		:: rule[primary] == next && record != next && BARRIER(next) ->
			record = next;
			printf("record is %d of set %d\n", NEED(record), MEMBERS(record));
			CHECK_COVERS
		:: rule[primary] != next && RULE_FIRST(next) ->
			ordered[primary] = next;
			printf("rule %d of set %d is ordered\n", NEED(next), MEMBERS(next));
			CHECK_COVERS;
			acknowledge()
		:: rule[primary] != next && !RULE_FIRST(next) && record != BETWEEN(next) ->
			record = BETWEEN(next);
			printf("record is %d of set %d, between\n", NEED(record), MEMBERS(record));
			CHECK_COVERS
		:: else
		fi
	:: else
	fi;
	skip
}

proctype primary_leads()
{
	byte s;
	byte k;

	do
#if CALM < 2
	:: atomic {
		TENDS && CERTAIN;
		if
		:: s = 0
		:: s = BIT(0)
		:: s = BIT(1)
		:: s = BIT(0) + BIT(1)
#if NODES == 3
		:: s = BIT(2)
		:: s = BIT(0) + BIT(2)
		:: s = BIT(1) + BIT(2)
#endif
		fi;
		if
		:: k = SYNC
#if DEGRADE
		:: k = LOWER(COUNT(s), SYNC)
#endif
		fi;
		d_step {
			tend(s, k);
			s = 0;
			k = 0
		}
	   }
#endif
	/* The reload has reached every process of the database. */
	:: d_step {
		db[primary] == PRIMARY && rule[primary] != ordered[primary] ->
		printf("rule %d of set %d is read back\n", NEED(ordered[primary]), MEMBERS(ordered[primary]));
		rule[primary] = ordered[primary];
		since = LENGTH(wal[primary])
	   }
	:: d_step {
		TENDS && earlier_count > 0 && HOLDERS(MEMBERS(record), primary, open_at) >= NEED(record) ->
		printf("settled\n");
		do
		:: earlier_count > 0 ->
			earlier_count--;
			earlier[earlier_count] = 0;
			earlier_primary[earlier_count] = NOBODY
		:: else -> break
		od;
		skip
	   }
	od;
	skip
}

/* A node is to be rewound or cloned: off the record first, then marked. */
inline rebuild(n)
{
	if
	:: TENDS && CERTAIN && WANTS_REBUILD(n) && IN(MEMBERS(record), n) &&
		COVERS(rule[primary], RULE(MEMBERS(record) & ~BIT(n),
					   (NEED(record) > 0 -> NEED(record) - 1 : 0))) ->
		record = RULE(MEMBERS(record) & ~BIT(n), (NEED(record) > 0 -> NEED(record) - 1 : 0));
		printf("record is weakened to %d of set %d\n", NEED(record), MEMBERS(record));
		check_covers()
	:: else
	fi;
	skip
}

inline mark(n)
{
	if
	:: TENDS && CERTAIN && WANTS_REBUILD(n) && !IN(MEMBERS(record), n) ->
		printf("%c is marked for its rebuild\n", 'A' + n);
		i = 0;
		do
		:: i < earlier_count ->
			if
			:: earlier_primary[i] == n -> earlier_primary[i] = NOBODY
			:: else
			fi;
			if
			:: IN(MEMBERS(earlier[i]), n) ->
				earlier[i] = RULE(MEMBERS(earlier[i]) & ~BIT(n),
						  (NEED(earlier[i]) > 0 -> NEED(earlier[i]) - 1 : 0))
			:: else
			fi;
			i++
		:: else -> break
		od;
		rebuilding = rebuilding | BIT(n)
	:: else
	fi;
	skip
}

inline rebuilt(n)
{
	if
	:: TENDS && IN(rebuilding, n) && STREAMS(n, primary) ->
		printf("%c counts again\n", 'A' + n);
		rebuilding = rebuilding & ~BIT(n)
	:: else
	fi;
	skip
}

#ifdef BUG_ARBITER_TRAP
#define KEPT(r) (NEED(r) == 0 || COUNT(MEMBERS(r) & counting) >= ANSWERS(r))
#else
#define KEPT(r) (NEED(r) > 0 && COUNT(MEMBERS(r) & counting) >= ANSWERS(r))
#endif

#ifdef BUG_CHOICE_BY_LENGTH
#define MEASURE(w) LENGTH(w)
#else
#define MEASURE(w) USABLE(w)
#endif

#define AWAY(r)     COUNT(MEMBERS(r) & ~counting)
#define HAVE(r, n, l) (IN(MEMBERS(r) & counting, n) && usable[n] >= (l))
#if NODES == 3
#define HAVING(r, l) (HAVE(r, 0, l) + HAVE(r, 1, l) + HAVE(r, 2, l))
#else
#define HAVING(r, l) (HAVE(r, 0, l) + HAVE(r, 1, l))
#endif

/* owed(): no commit of the record `r` of `primaries` lies beyond. */
inline bound(r, primaries)
{
	end = longest;
	j = 0;
	if
	:: NEED(r) > AWAY(r) && NEED(r) <= COUNT(MEMBERS(r)) ->
		end = 0;
		do
		:: j < NODES ->
			if
			:: usable[j] > end && HAVING(r, usable[j]) >= NEED(r) - AWAY(r) -> end = usable[j]
			:: else
			fi;
			j++
		:: else -> break
		od
	:: else
	fi;
	j = 0;
	do
	:: j < NODES ->
		if
		:: IN((primaries) & counting, j) && usable[j] < end -> end = usable[j]
		:: else
		fi;
		j++
	:: else -> break
	od;
	if
	:: end > owed -> owed = end
	:: else
	fi;
	skip
}

#define EITHER(n) (BIT(primary) | (earlier_primary[n] == NOBODY -> 0 : BIT(earlier_primary[n])))

/* survey_evaluate() */
inline evaluate()
{
	counting = answered & ~rebuilding;
	longest = 0;
	i = 0;
	do
	:: i < NODES ->
		usable[i] = (IN(counting, i) -> MEASURE(POSITION(i)) : 0);
		if
		:: usable[i] > longest -> longest = usable[i]
		:: else
		fi;
		i++
	:: else -> break
	od;
	enough = (!opened || KEPT(record) || IN(counting, primary));
	owed = 0;
	if
	:: opened -> bound(record, BIT(primary))
	:: !opened && earlier_count == 0 -> owed = longest
	:: else
	fi;
#ifndef BUG_EARLIER_FORGOTTEN
	i = 0;
	do
	:: i < earlier_count ->
		enough = enough && (KEPT(earlier[i]) || (EITHER(i) & counting) != 0);
		bound(earlier[i], EITHER(i));
		i++
	:: else -> break
	od;
#endif
#ifdef BUG_BARRED_UNHEARD
	owed = 0;
#endif
	skip
}

/* Promises of an abandoned survey may be of a later epoch than the one that begins now. */
inline release(kept)
{
	i = 0;
	do
	:: i < NODES ->
		if
		:: IN(answered, i) || !IN(kept, i) -> promised[i] = false
		:: else
		fi;
		i++
	:: else -> break
	od;
	skip
}

#ifdef BUG_OWED_UNLESS_ALONE
#define OWED_ALSO && NEED(next) > 0
#else
#define OWED_ALSO
#endif

inline new_epoch(n, loss)
{
	if
	:: opened && NEED(record) <= COUNT(MEMBERS(record)) && !(loss) ->
		assert(earlier_count < EARLIER);
		earlier[earlier_count] = record;
		earlier_primary[earlier_count] = primary;
		earlier_count++
	:: else
	fi;
	if
	:: loss ->
		do
		:: earlier_count > 0 ->
			earlier_count--;
			earlier[earlier_count] = 0;
			earlier_primary[earlier_count] = NOBODY
		:: else -> break
		od
	:: else
	fi;
	follow = 0;
	i = 0;
	do
	:: i < NODES ->
		if
		:: i != n && IN(counting, i) && !IN(RUNNING, i) && !DIVERGED(POSITION(i)) &&
			usable[i] <= usable[n] ->
			follow = follow | BIT(i)
		:: else
		fi;
		i++
	:: else -> break
	od;
	next = RULE(follow, SYNC);
#if DEGRADE
	next = RULE(follow, LOWER(COUNT(follow), SYNC));
#endif
#ifndef BUG_OWED_TO_NOBODY
	/* What the chosen node may hold alone is owed to it, from now on until the record says so. */
	if
	:: earlier_count == 0 && (NEED(record) == 0 || loss) OWED_ALSO ->
		earlier[0] = RULE(0, 0);
		earlier_primary[0] = n;
		earlier_count = 1
	:: else
	fi;
#endif
	record = next;
	p = primary;
	primary = n;
	retire(p);
	opened = false;
	since = 0;
	timeline_max++
}

/* `kept`: which of the other nodes have promised a still later epoch. */
inline assign(n, kept)
{
	if
	:: IN(answered & ~rebuilding, n) && (kept & (answered | BIT(n))) == 0 ->
		evaluate();
		/* Anybody who has all that is owed: who has more may be one that may not. */
		chosen = enough && usable[n] >= owed &&
			 (IN(RUNNING, n) -> primary == n : timeline_max < TIMELINES);
		if
		:: chosen && IN(RUNNING, n) ->
			printf("%c resumes in a new epoch\n", 'A' + n);
			release(kept);
			stop_survey()
		:: chosen && !IN(RUNNING, n) ->
			printf("%c is assigned\n", 'A' + n);
			new_epoch(n, false);
			release(kept);
			stop_survey()
		:: else
		fi;
		skip
	:: else
	fi;
	skip
}

#if ACCEPT
/*
 * A person takes the data of the answers that there are, and gives up the rest; that is counted when
 * nobody's clients are let in any more.
 */
inline accept(n)
{
	if
	:: IN(answered & ~rebuilding & ~RUNNING, n) && accepted < ACCEPT && open == 0 &&
		timeline_max < TIMELINES ->
		evaluate();
		if
		:: usable[n] == longest ->
			printf("%c is assigned, a loss is accepted\n", 'A' + n);
			accepted++;
			new_epoch(n, true);
			do
			:: !PREFIX(acknowledged, wal[n]) ->
				acknowledged = CUT(acknowledged, LENGTH(acknowledged) - 1)
			:: else -> break
			od;
			release(0);
			stop_survey()
		:: else
		fi;
		skip
	:: else
	fi;
	skip
}
#endif


/* In place of a set of promises. */
#define LOSS_ACCEPTED 8

proctype leader()
{
	byte n;
	byte kept;

	do
	/* The lease ends; only then can another node be elected. */
	:: d_step {
		open != 0 ->
		printf("the lease of %c is over\n", 'A' + open - 1);
		p = open - 1;
		open = 0;
		retire(p)
	   }
	:: d_step {
		open == 0 && opened && answered == 0 && db[primary] == PRIMARY &&
		timeline[primary] == timeline_now && !promised[primary] && MAY_SERVE ->
		printf("%c lets clients in\n", 'A' + primary);
		open = primary + 1;
		CHECK_COVERS;
		acknowledge();
		skip
	   }
	:: d_step {
		CALM == 0 && answered != 0 ->
		printf("the survey is abandoned\n");
		stop_survey();
		skip
	   }
	:: atomic {
		if
		:: n = 0
		:: n = 1
#if NODES == 3
		:: n = 2
#endif
		fi;
		d_step {
			if
			:: WANTS_REBUILD(n) && IN(MEMBERS(record), n) -> rebuild(n)
			:: WANTS_REBUILD(n) && !IN(MEMBERS(record), n) -> mark(n)
			:: IN(rebuilding, n) -> rebuilt(n)
			:: else
			fi;
			n = 0
		}
	   }
	/* `kept`: who of those that are not asked has promised a still later epoch. */
	:: atomic {
		answered != 0;
		if
		:: n = 0
		:: n = 1
#if NODES == 3
		:: n = 2
#endif
		fi;
		if
		:: kept = 0
#if CALM == 0
		:: kept = BIT(0)
		:: kept = BIT(1)
#endif
#if CALM == 0 && NODES == 3
		:: kept = BIT(2)
		:: kept = BIT(0) + BIT(1)
		:: kept = BIT(0) + BIT(2)
		:: kept = BIT(1) + BIT(2)
#endif
#if ACCEPT
		:: kept = LOSS_ACCEPTED
#endif
		fi;
		d_step {
#if ACCEPT
			if
			:: kept == LOSS_ACCEPTED -> accept(n)
			:: else -> assign(n, kept)
			fi;
#else
			assign(n, kept);
#endif
			n = 0;
			kept = 0
		}
	   }
	/* The assigned node leads, nobody's clients are let in, and its promise is kept. */
	:: d_step {
		!opened && open == 0 && answered == 0 && db[primary] == STANDBY && !promised[primary] ->
		printf("%c is promoted to timeline %d\n", 'A' + primary, timeline_max);
		db[primary] = PRIMARY;
		timeline[primary] = timeline_max;
		rule[primary] = record;
		ordered[primary] = record;
		since = LENGTH(wal[primary])
	   }
	:: d_step {
		!opened && open == 0 && answered == 0 && db[primary] == PRIMARY &&
		timeline[primary] == timeline_max && !promised[primary] &&
		COVERS(rule[primary], record) ->
		printf("%c is opened\n", 'A' + primary);
		opened = true;
		timeline_now = timeline[primary];
		i = 0;
		do
		:: i < RECORDS && AT(wal[primary], i) != 0 && AT(wal[primary], i) != timeline_now -> i++
		:: else -> break
		od;
		open_at = i;
		lineage = CUT(wal[primary], open_at);
		assert(PREFIX(acknowledged, lineage)); /* I2 */
		do
		:: i < RECORDS -> lineage = lineage | (timeline_now << (3 * i)); i++
		:: else -> break
		od;
		skip
	   }
	od;
	skip
}

init
{
	d_step {
		i = 0;
		do
		:: i < EARLIER -> earlier_primary[i] = NOBODY; i++
		:: else -> break
		od;
		i = 0;
		do
		:: i < RECORDS -> lineage = lineage | (1 << (3 * i)); i++
		:: else -> break
		od;
		i = 1;
		do
		:: i < NODES ->
			rule[i] = CLOSED;
			ordered[i] = CLOSED;
			upstream[i] = 1;
			i++
		:: else -> break
		od;
		db[0] = PRIMARY;
		timeline[0] = 1;
#if EMPTY
		record = CLOSED;
#else
		record = RULE(ALL & ~1, SYNC);
#endif
		rule[0] = record;
		ordered[0] = record;
		open = 1
	}
	atomic {
		run node(0);
		run node(1);
#if NODES == 3
		run node(2);
#endif
		run primary_leads();
		run leader()
	}
}
