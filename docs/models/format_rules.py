"""Random model of format.md's exact rules under redb 4.6.0's real open/repair/commit/close sequence of writes and syncs.
disk: durable; clean: only in the cache since a failed fsync; dirty: written since the last fsync. With the option "late",
root records carry entries whose tag pages are written later. A crash may hit before any write or fsync, also during recovery (nested, any depth)."""
import random, sys, collections
class Brick(Exception): pass
class Crash(Exception): pass
PP=3                                    # data pages per group
class Sim:
    def __init__(s,rng,o,kinds):
        s.r,s.o,s.kinds=rng,o,kinds; s.disk,s.clean,s.dirty,s.log={}, {}, {}, []; s.uid=0; s.budget=0; s.acked=0; s.k=0
        n=2; e=lambda g:tuple(('v0',g,p) for p in range(PP))
        refs={i:((0,i),('v0',0,i)) for i in range(PP)}
        for g in range(n):
            for p in range(PP): s.disk['D',g,p]=('v0',g,p)
            s.disk['T',g,0]=(1,e(g),(),0)
        h=dict(sl=[(1,0,refs),(0,0,refs)],p=0,rec=True,t=False,alloc=-1)
        s.disk['R',0]=dict(seq=1,clean=False,dig={g:(1,e(g)) for g in range(n)},len=n,mark=n,h=h)
    # ---- medium
    def rd(s,l): return s.dirty[l] if l in s.dirty else s.clean[l] if l in s.clean else s.disk.get(l)
    def pt(s,name):
        if s.budget>0 and s.r.random()<s.pc: s.budget-=1; s.log.append('CRASH@'+name); raise Crash
    def wr(s,l,v):
        s.pt('write'+str(l)); s.dirty[l]=v
        if l[0] in 'DT' and l[1]>=s.ipos and s.rd(('I',)) is not None: s.dirty[('I',)]=None     # the tail is overwritten by a new group
    def fsync(s):
        s.pt('fsync'); s.disk.update(s.dirty); [s.clean.pop(l,None) for l in s.dirty]; s.dirty={}
    def die(s):
        kind=s.r.choice(s.kinds); s.log.append('('+kind+')')
        if kind=='power':
            for l,v in s.dirty.items():
                x=s.r.random()
                if x<.45: s.disk[l]=v
                elif x<.65: s.disk[l]='TORN'
            s.dirty,s.clean={}, {}
        elif kind=='fsyncfail':
            for l,v in s.dirty.items():
                if s.r.random()<.5: s.disk[l]=v
                else: s.clean[l]=v
            s.dirty={}
    ok=staticmethod(lambda x: x is not None and x!='TORN')
    # ---- store
    def pick(s,root,limit):
        """newest copy <= limit for every group the root may speak of"""
        res={}
        for g in range(root['len'] if 'nomark' in s.o else root['mark']):
            c=[(t[0],-ts,t) for ts in (0,1) if s.ok(t:=s.rd(('T',g,ts))) and t[0]<=limit]
            if c: m=max(c,key=lambda x:x[:2]); res[g]=(-m[1],m[2])
        return res
    def match(s,root):
        pk=s.pick(root,root['seq']); return pk if {g:(t[0],t[1]) for g,(c,t) in pk.items()}==root['dig'] else None
    def open(s):
        s.ipos=99
        s.guard=False; s.cleanfile=False
        s.fsync()
        s.clean={}
        roots=sorted(((r['seq'],-c,c,r) for c in (0,1) if s.ok(r:=s.rd(('R',c)))),key=lambda x:x[:2],reverse=True)
        if not roots: raise Brick('no root')
        idx=s.rd(('I',))
        mode='unclean'; cand=[x[3] for x in roots]; cp=[x[2] for x in roots]
        if 'either' in s.o:
            cl=[i for i,x in enumerate(cand) if x['clean']]
            if cl: mode='clean'; i=cl[0]; cand=[cand[i]]; cp=[cp[i]]
        else:
            if cand[0]['clean']:
                mode='clean' if len(cand)==2 and cand[1]['clean'] and cand[1]['seq']==cand[0]['seq'] else 'cleanscan'
                cand=cand[:1]; cp=cp[:1]
        if mode=='clean':
            r=cand[0]
            good=idx is not None and idx!='TORN' and {g:(a,b) for g,(a,b,c) in idx.items()}==r['dig']
            if not good and 'either' in s.o: raise Brick('clean: index does not match the digest')
            if not good: mode='cleanscan'
        if mode=='clean':
            r=cand[0]; pk={g:(c,s.rd(('T',g,c))) for g,(a,b,c) in idx.items()}
            for g,(c,t) in pk.items():
                if not s.ok(t) or (t[0],t[1])!=r['dig'][g]: raise Brick('clean: tag page does not equal its row')
            root,rc=r,cp[0]
        else:
            for root,rc in zip(cand,cp):
                pk=s.match(root)
                if pk is not None: break
            else: raise Brick('no root whose digest matches ('+mode+')')
        s.seq=root['seq']; s.rc=rc; s.len=root['len']; s.mark=root['mark']; s.tc={g:c for g,(c,t) in pk.items()}
        s.ent={g:list(t[1]) for g,(c,t) in pk.items()}; s.dur=set(s.tc); s.dig=dict(root['dig']); s.h=dict(root['h'],sl=list(root['h']['sl']))
        s.durh=root['len']; s.bits={}; s.dset=set(); s.rootclean=root['clean']
        s.late={k:v for k,(v,f) in root.get('late',{}).items()}; s.due=False
        for (g,p),v in s.late.items(): s.ent[g][p]=v
        s.log.append(f'open {mode} root {s.seq} copy {rc}')
        def lenset():
            if mode!='unclean' or s.h['t']: return set()
            L={k for k,(v,f) in root.get('late',{}).items() if f}
            for g in s.tc:
                t=s.rd(('T',g,s.tc[g]))
                if t[0]!=s.seq: continue
                if 'bits' in s.o: L|={(g,p) for p in t[2]}
                else:
                    u=s.rd(('T',g,1-s.tc[g])); u=u[1] if s.ok(u) else (None,)*PP
                    L|={(g,p) for p in range(PP) if u[p]!=t[1][p]}
            return L
        if 'set_before_erase' in s.o or 'bits' in s.o: L=lenset()
        if mode!='clean':
            w=False
            for g in range(9 if 'scanall' in s.o else (root['len'] if 'nomark' in s.o else root['mark'])):
                for c in (0,1):
                    t=s.rd(('T',g,c))
                    if s.ok(t) and t[0]>s.seq and not (g in s.tc and s.tc[g]==c):
                        s.wr(('T',g,c), s.rd(('T',g,s.tc[g])) if g in s.tc else None); w=True
            if w: s.fsync()
        if not('set_before_erase' in s.o or 'bits' in s.o): L=lenset()
        if mode=='clean' or mode=='cleanscan':
            o=s.rd(('R',1-rc))
            if not s.ok(o) or (o['seq']!=s.seq): s.wr(('R',1-rc),root); s.fsync()    # heal
        s.guard=True
        s.redb_open(L)
        s.guard=False
        if 'hold' in s.o: s.sync()
        c=s.h['sl'][s.h['p']]
        if c[1]<s.acked: raise Brick(f'acknowledged commit {s.acked} lost, got {c[1]}')
        s.k=max(s.k,c[1]) if False else s.k
    def sync(s):
        if s.guard and 'hold' in s.o: return
        q=s.seq+1; nd=dict(s.dig); fl=[]
        new={(g,p):s.ent[g][p] for g in s.bits for p in s.bits[g] if g<s.mark}
        both={**s.late,**new}
        can='late' in s.o and not s.due and all(g in s.dur for g in s.dset) and len(both)<=6
        late={}
        if can:
            wit=max(sorted(s.dset),key=lambda g:sum(k[0]==g for k in both)) if s.dset and 'no_witness' not in s.o else None
            both={k:v for k,v in both.items() if k[0]!=wit}
            kept={k:v for k,v in new.items() if k[0]!=wit} if 'not_cumulative' in s.o else both
            late={k:(v,k in new) for k,v in kept.items()}
            s.late=both; s.dset={wit}-{None}
        else:
            if 'late_forgotten' not in s.o: s.dset|={g for g,p in s.late if g<s.mark}
            s.late={}; s.due=False
        # groups newly under the mark
        for g in sorted(s.dset):
            t=(q,tuple(s.ent[g]),tuple(sorted(s.bits.get(g,()))),0)
            c=1-s.tc[g] if g in s.tc else 0
            if 'both' in s.o and g not in s.dur: s.wr(('T',g,1-c),t)
            s.wr(('T',g,c),t); nd[g]=(q,t[1]); fl.append((g,c))
        nd={g:v for g,v in nd.items() if g<s.mark}
        s.wr(('R',1-s.rc),dict(seq=q,clean=False,dig=nd,len=s.len,mark=s.mark,late=late,h=dict(s.h,sl=list(s.h['sl']))))
        s.fsync(); s.rc=1-s.rc; s.seq=q; s.dig=nd; s.rootclean=False; s.durh=s.len
        for g,c in fl: s.tc[g]=c; s.dur.add(g)
        for g in list(s.tc):
            if g>=s.mark: del s.tc[g]; s.dur.discard(g); s.ent.pop(g,None)
        s.dset=set(); s.bits={}; s.log.append(f'sync {q} ok')
    def wpage(s,g,p,v):
        s.wr(('D',g,p),v)
        if 'nomark' in s.o:
            s.mark=s.len
            s.ent.setdefault(g,[None]*PP)
        while g>=s.mark:
            s.ent[s.mark]=[None]*PP; s.dset.add(s.mark); s.mark+=1
        s.ent[g][p]=v; s.dset.add(g); s.bits.setdefault(g,set()).add(p)
    def close(s):
        # redb: 2PC commit that records the allocator state, shutdown header, then backend.close()
        s.commit(two=True,alloc=True,k=s.h['sl'][s.h['p']][1]); s.h['rec']=False; s.sync()
        if s.late and 'late_in_clean' not in s.o: s.due=True; s.sync()
        q=s.seq+1; r=dict(seq=q,clean=True,dig=dict(s.dig),len=s.len,mark=s.mark,h=dict(s.h,sl=list(s.h['sl'])))
        s.ipos=99; s.wr(('I',),{g:(a,b,s.tc[g]) for g,(a,b) in s.dig.items()})
        s.wr(('R',1-s.rc),r); s.fsync(); s.wr(('R',s.rc),r); s.fsync(); s.log.append(f'closed {q}')
    # ---- redb
    def hdr(s,**k): s.h.update(k)
    def redb_open(s,L):
        h=s.h; h['sl']=list(h['sl'])
        newer=lambda: (not h['t']) and h['sl'][1-h['p']][0]>h['sl'][h['p']][0]
        if h['rec']:
            if newer(): h['p']^=1
            s.sync()                                   # read_header: writes page 0 and flushes
        elif newer(): h['p']^=1
        def verify():
            for (loc,v) in h['sl'][h['p']][2].values():
                g,p=loc
                e=s.ent.get(g,[None]*PP)[p]; x=s.rd(('D',g,p))
                if e is None: return False
                if x!=e:
                    if (g,p) in L: s.log.append(f'zeros {loc}'); return False
                    raise Brick('hard error: page of the primary does not open and is not lenient')
                if x!=v: return False
            return True
        if not (h['t'] and h['alloc']==h['sl'][h['p']][0]):
            if not verify():
                if h['t']: raise Brick('primary corrupted despite 2PC')
                h['p']^=1; s.log.append('redb falls back')
                if not verify(): raise Brick('all roots corrupted')
            h['rec']=False; s.sync()                   # clear_recovery_required
            s.slot(h['sl'][h['p']][0]+1,h['sl'][h['p']][1],h['sl'][h['p']][2]); s.sync(); h['p']^=1; h['t']=True; s.sync()
        else:
            if not verify(): raise Brick('2PC: tree unreadable')
        h['rec']=True; s.sync()                        # begin_writable
        s.ipos=min(s.ipos,s.len) if True else 0
    def slot(s,tx,k,refs): s.h['sl'][1-s.h['p']]=(tx,k,refs)
    def commit(s,two=False,alloc=False,k=None):
        h=s.h; base=h['sl'][h['p']][2]; old=h['sl'][1-h['p']][2]
        used={v[0] for v in base.values()}|{v[0] for v in old.values()}
        free=[(g,p) for g in range(s.len) for p in range(PP) if (g,p) not in used]
        if s.r.random()<.25 and s.len<5 or len(free)<3:
            s.len+=1; s.sync(); s.log.append(f'grow to {s.len}'); free+=[(s.len-1,p) for p in range(PP)]
        new=dict(base); s.r.shuffle(free)
        for i in base:
            if s.r.random()<.5 and free:
                g,p=free.pop(); s.uid+=1; v=('v',s.uid); s.wpage(g,p,v); new[i]=((g,p),v)
        shrunk=False
        tx=h['sl'][h['p']][0]+1
        s.slot(tx,s.k if k is None else k,new)
        if two: s.sync()
        h['p']^=1; h['t']=two
        if alloc: h['alloc']=tx
        s.sync()
        top=s.len-1
        if s.len>2 and s.r.random()<.4 and not any(v[0][0]==top for sl in h['sl'] for v in sl[2].values()) and k is None:
            s.len-=1; s.log.append(f'shrink to {s.len}')       # set_len(smaller), no sync, logical
            if s.mark>s.len: s.mark=s.len; s.due=s.due or 'cut_not_due' not in s.o
            s.dset.discard(top)
    def run(s,steps):
        def again():
            while True:
                try: s.open(); return
                except Crash: s.die()
        again()
        for _ in range(steps):
            s.budget=3
            try:
                if s.r.random()<.3: s.close(); s.log.append('reopen'); s.open(); continue
                s.k+=1; s.log.append(f'commit {s.k}'); two=s.r.random()<.25; s.commit(two=two); s.acked=s.k; s.log.append(f'acked {s.k}')
            except Crash: s.die(); again()
def trial(name,o,kinds,n=20000,steps=6,pc=.06):
    bad=collections.Counter(); best=None; Sim.pc=pc; errs=0
    for x in range(n):
        s=Sim(random.Random(x),o,kinds); s.ipos=99
        try: s.run(s.r.randint(1,steps))
        except Brick as e:
            bad[str(e).split(',')[0].rstrip('0123456789 ')]+=1
            if best is None or len(s.log)<len(best[0]): best=(list(s.log),str(e))
    print(f'{name}: {dict(bad) or "OK"} of {n}')
    if best: print('   ', ' | '.join(best[0]),'=>',best[1])
if __name__=='__main__':
    N=int(sys.argv[1]) if len(sys.argv)>1 else 20000
    K=['power','kill','fsyncfail']
    full={'bits','hold','both'}
    for name,o in [
      ('format.md literally (either clean; diff after erase; no mark)',{'either','nomark'}),
      ('only clean rule as written, rest fixed',full|{'either'}),
      ('only lenient set "entry differs", after erase, recovery syncs held',{'hold','both'}),
      ('only lenient set "entry differs", before erase, recovery syncs held',{'hold','both','set_before_erase'}),
      ('only recovery syncs not held (bits)',{'bits','both'}),
      ('only groups: no mark, first tag page to copy A only',{'bits','hold','nomark'}),
      ('mark, first tag page to one copy only',{'bits','hold'}),
      ('late entries, only those of the last sync',full|{'late','not_cumulative'}),
      ('late entries, forgotten when tag pages are written',full|{'late','late_forgotten'}),
      ('late entries, left in a clean root',full|{'late','late_in_clean'}),
      ('late entries, no tag page at all: nothing lost, and nothing tells of a lost root',full|{'late','no_witness'}),
      ('late entries as they are',full|{'late'}),
      ('index damage is a scan at the same root; all fixed',full)]:
        if len(sys.argv)>2 and sys.argv[2] not in name: continue
        trial(name,o,K,N)
