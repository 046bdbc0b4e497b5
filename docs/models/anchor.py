#!/usr/bin/env python3
"""A model of the anchor protocol (docs/format.md, "Anchor"; docs/decisions/0017).

    python3 docs/models/anchor.py [events]

Visits every schedule of so many events (2 unless said otherwise): commits, closes, changes of keys,
bind, unbind, an attacker's rollback that an administrator accepts, crashes; each write of a header
or a body lands, is lost with the power, or lands with it; each question to the anchor is answered,
or not, or carried out and not answered, or the power goes before or after it. After each schedule:

  - what is on the disk opens, or is the rolled-back file that was being accepted (no false alarm);
  - no header and no body that ever was on the disk, put together in any way the generation rule
    and the keys allow, opens without all that was counted, acknowledged and returned (no rollback).

A body is roots, tag pages and pages of one state: the digest holds these together. Its sync
sequence and the tearing of it are another model's business. Each rule of the protocol can be
left out, to see that the model misses it.
"""
import sys
from collections import namedtuple

Header = namedtuple('Header', 'gen since first keys')        # since None: not bound
Body = namedtuple('Body', 'gen count key content clean')


class Crash(Exception): pass
class Refused(Exception): pass
class Wrong(Exception): pass

FAULTS = 2      # of one schedule, in the exhaustive search


class Run:
    def __init__(s, script, rules, policy, events):
        s.script, s.taken, s.widths = script, [], []
        s.rules, s.policy, s.events = rules, policy, events
        s.log, s.ids, s.faults = [], 0, FAULTS
        s.anchor = 3
        s.h = Header(1, None, 0, (0,)); s.b = Body(1, 0, 0, (), True)
        s.hs, s.bs = {s.h}, {s.b}
        s.promise = None                # content that no accepted state may lack; None: no promise
        s.accepting = False

    # ---- choices, disk, anchor
    def choose(s, options):
        if options[0] == 'ok' and s.faults == 0: return 'ok'
        at = len(s.taken)
        pick = s.script[at] if at < len(s.script) else 0
        s.taken.append(pick); s.widths.append(len(options))
        if options[0] == 'ok' and pick: s.faults -= 1
        return options[pick]

    def disk(s, h=None, b=None, name=''):
        """A write with its fsync."""
        if h: s.hs.add(h)
        if b: s.bs.add(b)
        how = s.choose(['ok', 'crash, lost', 'crash, landed'])
        s.log.append(f'{name} {h or b}: {how}')
        if how != 'crash, lost':
            s.h, s.b = h or s.h, b or s.b
        if how != 'ok': raise Crash

    def advance(s, to):
        how = s.choose(['ok', 'no answer', 'done, no answer', 'crash before', 'crash after'])
        s.log.append(f'advance to {to}: {how}')
        if how in ('ok', 'done, no answer', 'crash after'):
            if s.anchor not in (to - 1, to): raise Wrong(f'anchor at {s.anchor}, asked for {to}')
            s.anchor = to
        if how.startswith('crash'): raise Crash
        return how == 'ok'

    # ---- what an open checks
    def count_of(s, h, b):
        if h.since is not None and b.gen < h.since: return h.first
        return b.count

    def check(s, h, b):
        """The count, or Refused. The caller insists on his anchor."""
        if h.gen not in (b.gen, b.gen + 1): raise Refused('generation')
        if b.key not in h.keys or (b.gen == h.gen and b.key != h.keys[-1]): raise Refused('key')
        if h.since is None: raise Refused('not bound')
        c = s.count_of(h, b)
        behind = 1 if 'one behind is fine' in s.rules else 0
        if c < s.anchor - behind: raise Refused('rolled back')
        if c > s.anchor + 1: raise Refused('ahead')
        return c

    # ---- a session
    def settle(s):
        if s.acked < s.count:
            if s.advance(s.count):
                s.acked = s.count
                s.promise = s.counted

    def raised(s):
        """The count of the next body, one up if it may."""
        if s.bound and (s.acked == s.count or 'two ahead of the anchor' in s.rules):
            s.count, s.must, s.counted = s.count + 1, False, s.content
            return True
        return False

    def write(s, raise_, clean=False, name='sync'):
        counted = raise_ and s.raised()
        if counted and 'anchor first' in s.rules:
            s.acked = s.count if s.advance(s.count) else s.acked
        s.disk(b=Body(s.h.gen, s.count, s.h.keys[-1], s.content, clean), name=name)
        if s.bound: s.settle()

    def due(s, policy):
        if s.policy == 'clock': policy = s.choose(['not yet', 'it is time']) == 'it is time'
        return (s.must and 'no count at open' not in s.rules) or s.policy == 'each' or policy

    def open(s):
        s.bound = s.h.since is not None
        s.count = s.acked = 0; s.must = False; s.commits = 0; s.counted = None
        if s.bound:
            try: s.count = s.check(s.h, s.b)
            except Refused as why:
                raise Wrong(f'false alarm: {why}')
            s.acked = s.anchor
            # A count above this one may have been written and lost, and be kept by somebody.
            s.must = True
            if 'no count after a clean close' in s.rules:
                s.must = not s.b.clean or s.count > s.acked or s.b.gen < s.h.since
        s.content = s.b.content
        # What the count of a file that is one ahead stands for is what it holds, at least.
        s.counted = s.promise
        if s.bound and s.acked < s.count:
            # The sync that was counted may have been cut off: what became of it comes first.
            s.disk(b=Body(s.h.gen, s.count, s.h.keys[-1], s.content, False), name='recover')
            s.settle()
        s.write(s.bound and s.due(False), name='open')

    def commit(s):
        s.ids += 1; s.content += (s.ids,); s.commits += 1
        if s.bound: s.settle()
        s.write(s.bound and s.due(s.policy == 'second' and s.commits % 2 == 0), name='commit')

    def close(s):
        if s.bound: s.settle()
        s.write(s.bound and s.due(s.policy == 'close'), clean=True, name='close')
        s.open()

    def own(s):
        # A sync of the store's own: carries the count as it is.
        s.write(False, name='own')

    def keys(s):
        if s.bound: s.settle()
        s.disk(h=s.h._replace(gen=s.h.gen + 1), name='header')
        s.write(s.bound and s.due(s.policy == 'keys'), name='root')

    def claim(s, header, once='bind counts once'):
        """Bind, or accept: a header with a binding of its own, the anchor, and a counted root."""
        first = s.anchor + 1
        s.disk(h=header._replace(since=header.gen, first=first), name='header')
        s.bound, s.count, s.acked, s.counted = True, first, first - 1, None
        s.must = once not in s.rules
        s.settle()
        s.write(s.must, name='root')
        if once in s.rules and s.acked == s.count: s.promise = s.content

    def bind(s):
        if not s.bound: s.claim(s.h._replace(gen=s.h.gen + 1))

    def unbind(s):
        if not s.bound: return
        s.promise = None
        s.disk(h=s.h._replace(gen=s.h.gen + 1, since=None, first=0), name='header')
        s.bound, s.count, s.acked = False, 0, 0
        s.write(False, name='root')

    def rollback(s):
        """Somebody puts an older file back; it is refused; an administrator takes it."""
        if not s.bound: return
        older = []
        for h in sorted(s.hs, key=str):
            for b in sorted(s.bs, key=str):
                try: s.check(h, b)
                except Refused as why:
                    if str(why) == 'rolled back': older.append((h, b))
        if not older: return
        # The first, the last and one between: all of them would be too many schedules.
        few = sorted({0, len(older) // 2, len(older) - 1})
        s.h, s.b = older[s.choose(few)]
        s.log.append(f'ROLLED BACK TO {s.h} {s.b}')
        s.accepting = True; s.promise = None
        s.accept()

    def accept(s):
        # A recovery that counts nothing, then one header commit.
        s.content, s.bound = s.b.content, False
        s.count = s.count_of(s.h, s.b)
        s.disk(b=Body(s.h.gen, s.count, s.h.keys[-1], s.content, False), name='recover')
        s.ids += 1
        s.claim(s.h._replace(gen=s.h.gen + 1, keys=s.h.keys + (s.ids,)), 'accept counts once')
        s.accepting = False

    def again(s):
        """After a crash."""
        while True:
            try:
                if s.accepting:
                    try: s.check(s.h, s.b)
                    except Refused: s.accept(); return
                    s.accepting = False         # the header commit had landed
                s.open(); return
            except Crash: pass

    def judge(s):
        if s.promise is None: return
        for h in s.hs:
            for b in s.bs:
                try: s.check(h, b)
                except Refused: continue
                if b.content[:len(s.promise)] != s.promise:
                    raise Wrong(f'{h} {b} accepted at {s.anchor}, promised {s.promise}')

    def run(s):
        s.content = (); s.again()
        for _ in range(s.events):
            event = s.choose(['commit', 'bind', 'close', 'own', 'keys', 'rollback', 'unbind', 'stop'])
            if event == 'stop': break
            s.log.append(event.upper())
            try: getattr(s, event)()
            except Crash:
                s.judge(); s.again()
            s.judge()


def every(rules, policy, events, bind_first=True, limit=None):
    """Depth first through all scripts; at most two faults in one schedule."""
    script, runs = [], 0
    while True:
        s = Run(script, rules, policy, events)
        # Bound from the start, so that the events are spent on what follows.
        if bind_first:
            s.h = Header(2, 2, 4, (0,)); s.b = Body(2, 5, 0, (), True); s.anchor = 5
            s.hs, s.bs, s.promise = {s.h}, {s.b}, ()
        try: s.run()
        except Wrong as wrong: return runs, (str(wrong), s.log)
        runs += 1
        # The next script in order.
        taken, widths = s.taken, s.widths
        while taken and taken[-1] + 1 >= widths[-1]: taken.pop(); widths.pop()
        if not taken: return runs, None
        taken[-1] += 1
        script = taken
        if limit and runs >= limit: return runs, None


class Random(Run):
    """The same under random choices, for longer schedules."""
    def __init__(s, seed, *a):
        import random
        super().__init__([], *a); s.random = random.Random(seed); s.faults = 1 << 30

    def choose(s, options):
        return s.random.choice(options) if s.random.random() < .45 else \
            (options[0] if options[0] != 'commit' else s.random.choice(options[:7]))


def trial(name, rules, events, seeds=20000):
    worst, schedules = None, 0
    for policy in ['each', 'close', 'second', 'keys', 'clock']:
        for bind_first in (True, False):
            runs, wrong = every(rules, policy, events, bind_first)
            schedules += runs
            if wrong: worst = wrong
        for seed in range(seeds):
            s = Random(seed, rules, policy, 10)
            try: s.run(); schedules += 1
            except Wrong as wrong:
                if worst is None or len(s.log) < len(worst[1]): worst = (str(wrong), s.log)
    print(f'{name}: {schedules} schedules, {"WRONG" if worst else "sound"}')
    if worst: print('    ', '; '.join(worst[1]), '=>', worst[0])
    return worst is None


if __name__ == '__main__':
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    sound = trial('the protocol', set(), events)
    for rule in ['no count at open', 'no count after a clean close', 'bind counts once', 'anchor first',
                 'one behind is fine', 'two ahead of the anchor', 'accept counts once']:
        trial(f'with "{rule}"', {rule}, 1, 40000)
    sys.exit(0 if sound else 1)
