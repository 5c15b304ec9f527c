import { createHash, randomBytes } from 'node:crypto'
import t from 'tap'
import { sha3 } from '../../src/sdk/sha3.ts'
import { asHex } from './support.ts'

t.test('SHA3-256 equals the example of FIPS 202 for the empty message', async (t) => {
  t.equal(asHex(sha3(new Uint8Array(0))), 'a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a')
})

t.test('SHA3-256 equals OpenSSL for every length up to three blocks', async (t) => {
  for (let length = 0; length <= 3 * 136 + 1; length++) {
    const data = randomBytes(length)
    t.equal(asHex(sha3(data)), createHash('sha3-256').update(data).digest('hex'), `${length} bytes`)
  }
})
