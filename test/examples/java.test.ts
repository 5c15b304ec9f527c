import t from 'tap'
import { keepsTheProtocol } from '../support/example-client.ts'
import { withstandsEveryAttack } from '../support/example-client-attacks.ts'
import { believesNoStranger, runWith } from '../support/example-client-runs.ts'
import { asksTheServer } from '../support/example-client-server.ts'
import { javaClient, javaFromSource } from './java-client.ts'

keepsTheProtocol(t, javaClient)
believesNoStranger(t, javaClient)
asksTheServer(t, javaClient)
withstandsEveryAttack(t, javaClient)

t.test('it runs from its source, without a build', async (t) => {
  const { code, stderr } = await runWith(javaFromSource, [])
  t.equal(code, 64)
  t.match(stderr, /Usage: java KunciClient\.java /)
})
