import t from 'tap'
import { type Candidate, decide } from '../../src/domain/decide.ts'
import type { Licence } from '../../src/store/licences.ts'

const NOW = 1_000_000

function candidate(
  id: string,
  facts: Partial<Licence> = {},
  binding: Candidate['binding'] = 'same',
): Candidate {
  const licence: Licence = {
    ...{ id, productId: 'prd', customer: 'A', state: 'active', stateReason: null, expiresAtMs: null },
    ...{ sk: null, sck: null, maintenance: null, status1Text: null, createdAtMs: 0, updatedAtMs: 0 },
    seats: null,
    ...facts,
  }
  return { bound: { licence, device: null, isEnrolled: false }, binding }
}

const dead = [
  candidate('suspended', { state: 'suspended' }),
  candidate('revoked', { state: 'revoked' }),
  candidate('other', {}, 'other'),
]
const expired = candidate('expired', { expiresAtMs: NOW })
const soon = candidate('soon', { expiresAtMs: NOW + 1 })
const later = candidate('later', { expiresAtMs: NOW + 2 })
const forever = candidate('forever')

t.test(
  'of several licences the active one that expires last counts, in whatever order they come',
  async (t) => {
    const orders = [
      [soon, later, expired, ...dead],
      [...dead, expired, later, soon],
      [later, ...dead, soon, expired],
    ]
    for (const order of orders) t.match(decide(order, NOW), { kind: 'granted', candidate: later })
    t.match(decide([soon, forever, later], NOW), { kind: 'granted', candidate: forever })
    t.match(decide([forever, soon, later], NOW), { kind: 'granted', candidate: forever })
  },
)

t.test(
  'a dead licence never shadows a living one, and only an expired one is said to be expired',
  async (t) => {
    for (const one of dead) {
      t.match(decide([one, soon], NOW), { kind: 'granted', candidate: soon })
      t.match(decide([one, expired], NOW), { kind: 'expired', candidate: expired })
      t.match(decide([one], NOW), { kind: 'not_found' })
    }
  },
)

t.test('a licence is over at the very millisecond of its expiry', async (t) => {
  t.match(decide([soon], NOW), { kind: 'granted' })
  t.match(decide([soon], NOW + 1), { kind: 'expired' })
})

t.test('the record says why nothing was found, though the caller is not told', async (t) => {
  t.same(decide([], NOW), { kind: 'not_found', reason: 'unknown', licence: null })
  t.match(decide([candidate('s', { state: 'suspended' })], NOW), {
    reason: 'suspended',
    licence: { id: 's' },
  })
  t.match(decide([candidate('r', { state: 'revoked' })], NOW), { reason: 'revoked' })
  t.match(decide([candidate('o', {}, 'other')], NOW), { reason: 'other_device' })
})

t.test('a licence that has no machine yet is granted to the first', async (t) => {
  t.match(decide([candidate('n', {}, 'none')], NOW), { kind: 'granted', candidate: { binding: 'none' } })
  t.match(decide([candidate('n', { expiresAtMs: NOW }, 'none')], NOW), { kind: 'expired' })
})
