import t from 'tap'
import { keepsTheProtocol } from '../support/example-client.ts'
import { withstandsEveryAttack } from '../support/example-client-attacks.ts'
import { believesNoStranger } from '../support/example-client-runs.ts'
import { asksTheServer } from '../support/example-client-server.ts'
import { phpClient } from './php-client.ts'

keepsTheProtocol(t, phpClient)
believesNoStranger(t, phpClient)
asksTheServer(t, phpClient)
withstandsEveryAttack(t, phpClient)
