import t from 'tap'
import { keepsTheProtocol } from '../support/example-client.ts'
import { withstandsEveryAttack } from '../support/example-client-attacks.ts'
import { believesNoStranger } from '../support/example-client-runs.ts'
import { asksTheServer } from '../support/example-client-server.ts'
import { pythonClient } from './python-client.ts'

keepsTheProtocol(t, pythonClient)
believesNoStranger(t, pythonClient)
asksTheServer(t, pythonClient)
withstandsEveryAttack(t, pythonClient)
