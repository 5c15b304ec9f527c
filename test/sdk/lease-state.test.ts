import t from 'tap'
import type { Lease } from '../../src/sdk/lease.ts'
import { acceptLease, hearServer, type LeaseState, stepLease } from '../../src/sdk/lease-state.ts'
import { vectors } from './support.ts'

const lease: Lease = vectors.lease.payload
const HOUR = 3600
const DAY = 24 * HOUR
const at = (now: number, monotonic = 0, boot = 'this') => ({ now, monotonic, boot })
const fresh = acceptLease(null, lease, lease.iat, at(lease.iat))

/** The verdict of one step, from the state of a lease that was just accepted. */
const verdict = (clocks: ReturnType<typeof at>, state: LeaseState | null = fresh, of = lease) =>
  stepLease(state, of, clocks).verdict

t.test('a lease is ok until it ends, then in grace, then over', async (t) => {
  t.equal(verdict(at(lease.iat)), 'ok')
  t.equal(verdict(at(lease.exp)), 'ok')
  t.equal(verdict(at(lease.exp + 1)), 'grace')
  t.equal(verdict(at(lease.exp + lease.grace)), 'grace')
  t.equal(verdict(at(lease.exp + lease.grace + 1)), 'expired')
})

t.test('clock back: the lease does not count until the clock is right again', async (t) => {
  const later = stepLease(fresh, lease, at(lease.iat + DAY)).state
  t.equal(verdict(at(lease.iat + DAY - 300), later), 'ok', 'clocks may differ by 300 s')
  const back = stepLease(later, lease, at(lease.iat + DAY - 301))
  t.equal(back.verdict, 'clock_rollback')
  t.equal(back.state?.hwm, lease.iat + DAY, 'what was seen is not forgotten')
  t.equal(verdict(at(lease.iat + DAY), back.state), 'ok')
  t.equal(verdict(at(lease.nbf - 301)), 'clock_rollback', 'before the lease was made')
})

t.test('clock back by less than is noticed: time stands still and does not run backwards', async (t) => {
  const end = stepLease(fresh, lease, at(lease.exp + 1)).state
  t.equal(verdict(at(lease.exp - 200), end), 'grace')
})

t.test('clock forward: the lease ends, and setting the clock back does not bring it to life', async (t) => {
  const ahead = stepLease(fresh, lease, at(lease.exp + 30 * DAY))
  t.equal(ahead.verdict, 'expired')
  t.equal(verdict(at(lease.iat + HOUR), ahead.state), 'clock_rollback')
  const healed = acceptLease(ahead.state, lease, lease.iat + HOUR, at(lease.iat + HOUR))
  t.equal(verdict(at(lease.iat + HOUR), healed), 'ok', 'the server knows what time it is')
})

t.test('clock frozen: running time bounds the lease', async (t) => {
  let state: LeaseState | null = fresh
  let ran = 0
  while (ran <= lease.run) {
    const step = stepLease(state, lease, at(lease.iat, ran))
    t.equal(step.verdict, 'ok')
    state = step.state
    ran += 10 * HOUR
  }
  t.equal(verdict(at(lease.iat, ran), state), 'expired')
  t.equal(ran, 110 * HOUR)
})

t.test('running time is counted within one run of the process, and never backwards', async (t) => {
  const ran = stepLease(fresh, lease, at(lease.iat, HOUR)).state
  t.match(ran, { run: HOUR, mono: HOUR })
  const restarted = stepLease(ran, lease, at(lease.iat, 5, 'another')).state
  t.match(restarted, { run: HOUR, mono: 5, boot: 'another' }, 'timers of two runs are not compared')
  t.match(stepLease(restarted, lease, at(lease.iat, 65, 'another')).state, { run: HOUR + 60 })
  t.match(stepLease(ran, lease, at(lease.iat, 0)).state, { run: HOUR })
})

t.test('contact with the server starts the running time anew', async (t) => {
  const ran = stepLease(fresh, lease, at(lease.iat, 99 * HOUR)).state
  t.match(acceptLease(ran, lease, lease.iat + DAY, at(0, 99 * HOUR)), { run: 0, mono: 99 * HOUR })
})

t.test('virtual machine set back to a snapshot: it cannot be seen', async (t) => {
  const snapshot = stepLease(fresh, lease, at(lease.iat + HOUR)).state
  const week = stepLease(snapshot, lease, at(lease.iat + 7 * DAY, 90 * HOUR)).state
  t.equal(verdict(at(lease.iat + HOUR), week), 'clock_rollback', 'the clock alone would be')
  t.equal(verdict(at(lease.iat + HOUR), snapshot), 'ok', 'clock and state together are as they were')
})

t.test('state lost or tampered with: the server has to be asked', async (t) => {
  t.same(stepLease(null, lease, at(lease.iat + 60)), { verdict: 'state_lost', state: null })
  t.equal(verdict(at(lease.iat), { ...fresh, jti: 'another' }), 'state_lost', 'the state of another lease')
})

t.test(
  'state not yet there: a lease counts in the hour in which tool and lease were put in place',
  async (t) => {
    const installed = (now: number, installedAt: number) =>
      stepLease(null, lease, { ...at(now), installedAt })
    const first = installed(lease.iat + 60, lease.iat + 30)
    t.equal(first.verdict, 'ok')
    t.equal(first.state?.hwm, lease.iat + 60)
    t.equal(verdict(at(lease.iat + 2 * DAY), first.state), 'ok', 'from then on there is a state')
    t.equal(installed(lease.iat + HOUR + 1, lease.iat + 30).verdict, 'state_lost', 'an old lease')
    t.equal(installed(lease.iat + 60, lease.iat - HOUR).verdict, 'state_lost', 'an old installation')
    t.equal(
      installed(lease.iat + 60, lease.iat + DAY).verdict,
      'state_lost',
      'a clock behind the installation',
    )
    t.equal(installed(lease.iat - 301, lease.iat - 301).verdict, 'state_lost', 'a clock behind the lease')
  },
)

t.test('the server ends a lease by a floor, and tells the time', async (t) => {
  const heard = hearServer(fresh, { serverTime: lease.iat + DAY, floor: lease.seq + 1 })
  t.match(heard, { hwm: lease.iat + DAY, seq: lease.seq + 1 })
  t.equal(verdict(at(lease.iat + DAY), heard), 'superseded')
  t.match(hearServer(heard, { serverTime: lease.iat, floor: 1 }), heard, 'neither falls')
  const next = { ...lease, seq: lease.seq + 1, jti: 'next' }
  t.equal(verdict(at(lease.iat + DAY), acceptLease(heard, next, lease.iat + DAY, at(0)), next), 'ok')
  t.equal(
    verdict(at(lease.iat + DAY), acceptLease(heard, lease, lease.iat + DAY, at(0))),
    'superseded',
    'to accept an older one does not lower it',
  )
})
