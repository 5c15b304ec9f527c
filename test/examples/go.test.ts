import t from 'tap'
import { keepsTheProtocol } from '../support/example-client.ts'
import { withstandsEveryAttack } from '../support/example-client-attacks.ts'
import { believesNoStranger } from '../support/example-client-runs.ts'
import { asksTheServer } from '../support/example-client-server.ts'
import { goClient } from './go-client.ts'

keepsTheProtocol(t, goClient)
believesNoStranger(t, goClient)
asksTheServer(t, goClient)
withstandsEveryAttack(t, goClient)
