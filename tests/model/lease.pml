/*
 * Elections and the lease: when a voter may help to elect a leader, and how long the one before may
 * still let clients in. docs/model.md has the mapping to the program.
 *
 * Time is discrete. `tick` moves all clocks by one unit, everything else takes no time, and any
 * number of steps fits between two ticks. Clocks are kept as what is left of a span, so the state
 * space is finite. A voter's clock may run fast: once within each promise it moves by two.
 *
 * Bounds, given with -D: TERMS elections, FRESH entries per term beyond its first, TIMEOUT = T and
 * LEASE = L in units, WITNESS = 1 when voter 2 has no data, FAST = 0 for equal clocks.
 */
#ifndef TERMS
#define TERMS 3
#endif
#ifndef FRESH
#define FRESH 1
#endif
#ifndef TIMEOUT
#define TIMEOUT 3
#endif
#ifndef FAST
#define FAST 1
#endif
#ifndef WITNESS
#define WITNESS 0
#endif
#ifdef BUG_LEASE_TOO_LONG
#define LEASE (TIMEOUT + 1)
#endif
#ifdef BUG_LEASE_WITHOUT_MARGIN
#define LEASE TIMEOUT
#endif
#ifndef LEASE
#define LEASE (TIMEOUT - FAST)
#endif
#define VOTERS 3

#define FOLLOWER 0
#define CANDIDATE 1
#define LEADER 2

#define BIT(n)      (1 << (n))
#define COUNT(s)    (((s) & 1) + (((s) >> 1) & 1) + (((s) >> 2) & 1))
#define MAJORITY(s) (COUNT(s) * 2 > VOTERS)
#define PAIR(a, b)  ((a) * VOTERS + (b))
#define HIGHER(a, b) ((a) > (b) -> (a) : (b))
/* The last entry of a log: its term, and its number within the term. */
#define ENTRY(t, k) ((t) * (FRESH + 1) + (k))

/* On disk. */
byte term[VOTERS] = 1;
byte vote[VOTERS];       /* of this term, plus one; 0: not given */
byte entry[VOTERS];      /* where the log ends */

/* In memory of the consensus process. */
byte role[VOTERS];
byte votes[VOTERS];      /* candidate: who has voted for it */
byte bound[VOTERS];      /* votes for nobody, and stands for nothing, until this is over */
bool fast[VOTERS];       /* its clock has run fast since it was bound */
bool disrupt[VOTERS];    /* candidate: voters need not wait */
byte stored[VOTERS];     /* leader: who is known to have its newest entry */
bool ready[VOTERS];      /* leader: an entry of its own term is committed */
bool given_up[VOTERS];   /* leader: the lease does not count */
bool transferring[VOTERS];
byte echo[VOTERS * VOTERS]; /* leader, voter: what is left of the lease by this echo */

/* In the kernel and in the status segment: both outlive the process. */
byte fence[VOTERS];      /* clients are let in for so long */
byte shown[VOTERS];      /* the lease as published for a successor of the process */
byte shown_term[VOTERS];
byte resuming[VOTERS];   /* what was left of it when the process was started again */

/* Under way: Heard of a voter for a leader, with what is left of a lease from its send time. */
byte heard[VOTERS * VOTERS];
bool heard_stored[VOTERS * VOTERS];
/* TimeoutNow for a voter: the term and the log that it was sent with; 0: none. */
byte timeout_term[VOTERS];
byte timeout_entry[VOTERS];

hidden byte i;

/* Echoes of what was sent before count for nothing, also those still under way. */
inline forget_echoes(n)
{
	i = 0;
	do
	:: i < VOTERS ->
		echo[PAIR(n, i)] = 0;
		heard[PAIR(n, i)] = 0;
		heard_stored[PAIR(n, i)] = false;
		i++
	:: else -> break
	od;
	skip
}

inline forget_leading(n)
{
	stored[n] = 0;
	ready[n] = false;
	given_up[n] = false;
	transferring[n] = false;
	forget_echoes(n)
}

/* A later term was seen. A leader stays bound by the lease that it has shown. */
inline follow(n, t)
{
	if
	:: role[n] == LEADER ->
		bound[n] = HIGHER(bound[n], shown[n]);
		forget_leading(n)
	:: else
	fi;
	role[n] = FOLLOWER;
	votes[n] = 0;
	disrupt[n] = false;
	if
	:: t > term[n] ->
		term[n] = t;
		vote[n] = 0;
		resuming[n] = 0;
		/* TimeoutNow of an earlier term is refused. */
		timeout_term[n] = 0;
		timeout_entry[n] = 0
	:: else
	fi;
	skip
}

inline stand(n, at_once)
{
	term[n]++;
	vote[n] = n + 1;
	role[n] = CANDIDATE;
	votes[n] = BIT(n);
	disrupt[n] = at_once;
	timeout_term[n] = 0;
	timeout_entry[n] = 0;
	skip
}

/* What a majority's echoes leave of the leader's lease; its own echo is always new. */
#define OTHER(n, k)   (((n) + (k)) % VOTERS)
#define LEASE_LEFT(n) HIGHER(echo[PAIR(n, OTHER(n, 1))], echo[PAIR(n, OTHER(n, 2))])

/* I1 */
inline check_lease()
{
	assert((fence[0] > 0) + (fence[1] > 0) + (fence[2] > 0) <= 1)
}

#ifdef BUG_TRANSFER_KEEPS_LEASE
#define TRANSFER_SAFE(n) true
#else
#define TRANSFER_SAFE(n) (fence[n] == 0)
#endif

#if WITNESS
#define HAS_DATA(n) ((n) != 2)
#else
#define HAS_DATA(n) true
#endif

#ifdef BUG_VOTE_AT_ONCE
#define BOUND_AT_START 0
#else
#define BOUND_AT_START TIMEOUT
#endif

inline restart(n)
{
	role[n] = FOLLOWER;
	votes[n] = 0;
	disrupt[n] = false;
	forget_leading(n);
	bound[n] = BOUND_AT_START;
	fast[n] = false
}


/* What goes between two voters. */
proctype link(byte me; byte to)
{
	do
	/* AppendEntries: arrives at once (later would bind the voter for longer), or is lost. */
	:: d_step {
		role[me] == LEADER && term[me] >= term[to] ->
		printf("%d appends to the log of %d\n", me, to);
		follow(to, term[me]);
		bound[to] = TIMEOUT;
		fast[to] = false;
		entry[to] = HIGHER(entry[to], entry[me]);
		heard[PAIR(me, to)] = LEASE;
		heard_stored[PAIR(me, to)] = true
	   }
	/* The same, but the disk of the voter does not finish. */
	:: d_step {
		role[me] == LEADER && term[me] >= term[to] && entry[to] < entry[me] ->
		printf("%d is heard by %d\n", me, to);
		follow(to, term[me]);
		bound[to] = TIMEOUT;
		fast[to] = false;
		heard[PAIR(me, to)] = LEASE
	   }
	:: d_step {
		role[me] == LEADER && term[me] < term[to] ->
		printf("%d is told of a later term by %d\n", me, to);
		follow(me, term[to])
	   }
	/* Heard, and the result of AppendEntries. */
	:: d_step {
		role[me] == LEADER && (heard[PAIR(me, to)] > 0 || heard_stored[PAIR(me, to)]) ->
		printf("%d has the echo of %d, %d left\n", me, to, heard[PAIR(me, to)]);
		echo[PAIR(me, to)] = HIGHER(echo[PAIR(me, to)], heard[PAIR(me, to)]);
		heard[PAIR(me, to)] = 0;
		if
		:: heard_stored[PAIR(me, to)] ->
			stored[me] = stored[me] | BIT(to);
			heard_stored[PAIR(me, to)] = false
		:: else
		fi;
		if
		:: MAJORITY(stored[me]) ->
			ready[me] = true;
			if
			:: !transferring[me] -> given_up[me] = false
			:: else
			fi
		:: else
		fi;
		skip
	   }
	/* RequestVote: arrives at any time while the candidacy lasts, or never. */
	:: d_step {
		role[me] == CANDIDATE && (bound[to] == 0 || disrupt[me]) &&
		(role[to] != LEADER || shown[to] == 0 || disrupt[me]) &&
		(term[me] > term[to] || (term[me] == term[to] && role[to] == FOLLOWER && vote[to] == 0)) ->
		if
		:: term[me] > term[to] -> follow(to, term[me])
		:: else
		fi;
		if
		:: entry[me] >= entry[to] ->
			printf("%d votes for %d in term %d\n", to, me, term[me]);
			vote[to] = me + 1;
			votes[me] = votes[me] | BIT(to)
		:: else -> printf("%d refuses %d, whose log is older\n", to, me)
		fi;
		skip
	   }
	/* Clients of this node are shut out before the leadership is handed over. */
	:: d_step {
		role[me] == LEADER && ready[me] && !transferring[me] &&
		entry[me] < ENTRY(term[me], FRESH) && TRANSFER_SAFE(me) ->
		printf("%d gives up its lease and sends TimeoutNow to %d\n", me, to);
		transferring[me] = true;
#ifndef BUG_TRANSFER_KEEPS_LEASE
		given_up[me] = true;
		forget_echoes(me);
#endif
		timeout_term[to] = term[me];
		timeout_entry[to] = entry[me]
	   }
	od
}

proctype voter(byte me)
{
	do
	/* Nothing was heard for T. */
	:: d_step {
		role[me] != LEADER && bound[me] == 0 && term[me] < TERMS ->
		printf("%d stands for term %d\n", me, term[me] + 1);
		stand(me, false)
	   }
	:: d_step {
		role[me] == CANDIDATE && MAJORITY(votes[me]) ->
		printf("%d leads term %d\n", me, term[me]);
		assert(role[OTHER(me, 1)] != LEADER || term[OTHER(me, 1)] != term[me]);
		assert(role[OTHER(me, 2)] != LEADER || term[OTHER(me, 2)] != term[me]);
		role[me] = LEADER;
		votes[me] = 0;
		disrupt[me] = false;
		bound[me] = 0;
		resuming[me] = 0;
		entry[me] = ENTRY(term[me], 0);
		forget_leading(me);
		stored[me] = BIT(me)
	   }
	/* The agent passes the lease on to the kernel and publishes it. */
	:: d_step {
		role[me] == LEADER && ready[me] && !given_up[me] && HAS_DATA(me) &&
		LEASE_LEFT(me) > fence[me] ->
		printf("%d lets clients in for %d\n", me, LEASE_LEFT(me));
		fence[me] = LEASE_LEFT(me);
		shown[me] = HIGHER(shown[me], fence[me]);
		shown_term[me] = term[me];
		check_lease()
	   }
	/* A survey, a stopped database: the fence is closed before the lease ends. */
	:: d_step {
		fence[me] > 0 -> fence[me] = 0
	   }
	/* It was accepted while it was a follower of this term with just this log. */
	:: d_step {
		timeout_term[me] != 0 && role[me] == FOLLOWER && term[me] == timeout_term[me] &&
		entry[me] == timeout_entry[me] && term[me] < TERMS ->
		printf("%d takes TimeoutNow and stands for term %d\n", me, term[me] + 1);
		stand(me, true)
	   }
	/* The transfer is given up. Only a fresh entry makes the lease count again. */
	:: d_step {
		role[me] == LEADER && transferring[me] ->
		printf("%d gives up the transfer\n", me);
		transferring[me] = false;
#if defined(BUG_TRANSFER_WITHOUT_FRESH)
		given_up[me] = false;
		entry[me] = ENTRY(term[me], FRESH)
#elif defined(BUG_TRANSFER_KEEPS_LEASE)
		skip
#else
		entry[me]++;
		stored[me] = BIT(me);
		i = 0;
		do
		:: i < VOTERS -> heard_stored[PAIR(me, i)] = false; i++
		:: else -> break
		od;
		skip
#endif
	   }
	/* The process ends and starts again; it has forgotten whom it heard. */
	:: d_step {
		printf("%d starts again\n", me);
		resuming[me] = (role[me] == LEADER && shown_term[me] == term[me] -> shown[me] : 0);
		restart(me)
	   }
	/* The host boots: no fence in the kernel, no segment in memory, no database that runs. */
	:: d_step {
		printf("%d boots\n", me);
		resuming[me] = 0;
		fence[me] = 0;
		shown[me] = 0;
		shown_term[me] = 0;
		restart(me)
	   }
	/* It held the lease a moment ago and asks for the leadership at once. */
	:: d_step {
		resuming[me] > 0 && role[me] == FOLLOWER && term[me] < TERMS ->
		printf("%d resumes and stands for term %d\n", me, term[me] + 1);
		resuming[me] = 0;
		stand(me, true)
	   }
	od
}

#define LESS(x, by) ((x) > (by) -> (x) - (by) : 0)

/* `quick`: the voter whose clock moves by two; VOTERS: nobody's. */
inline pass_time(quick)
{
	d_step {
		quick == VOTERS || (FAST && bound[quick % VOTERS] > 1 && !fast[quick % VOTERS]) ->
		printf("time passes; fast: %d\n", quick);
		i = 0;
		do
		:: i < VOTERS ->
			bound[i] = LESS(bound[i], (i == quick -> 2 : 1));
			fast[i] = (i == quick || fast[i]) && bound[i] > 0;
			fence[i] = LESS(fence[i], 1);
			shown[i] = LESS(shown[i], 1);
			resuming[i] = LESS(resuming[i], 1);
			if
			:: shown[i] == 0 -> shown_term[i] = 0
			:: else
			fi;
			i++
		:: else -> break
		od;
		i = 0;
		do
		:: i < VOTERS * VOTERS ->
			echo[i] = LESS(echo[i], 1);
			heard[i] = LESS(heard[i], 1);
			i++
		:: else -> break
		od;
		skip
	}
}

proctype clocks()
{
	do
	:: pass_time(VOTERS)
#if FAST
	:: pass_time(0)
	:: pass_time(1)
	:: pass_time(2)
#endif
	od
}

/* Voter 0 has been elected in term 1; everybody has its first entry. */
init
{
	d_step {
		role[0] = LEADER;
		ready[0] = true;
		vote[0] = 1;
		vote[1] = 1;
		vote[2] = 1;
		entry[0] = ENTRY(1, 0);
		entry[1] = ENTRY(1, 0);
		entry[2] = ENTRY(1, 0);
		stored[0] = 7;
		bound[1] = TIMEOUT;
		bound[2] = TIMEOUT
	}
	atomic {
		run voter(0);
		run voter(1);
		run voter(2);
		run link(0, 1);
		run link(0, 2);
		run link(1, 0);
		run link(1, 2);
		run link(2, 0);
		run link(2, 1);
		run clocks()
	}
}
