import t from 'tap'
import { cClient } from '../examples/c-client.ts'
import { withstandsEveryAttack } from '../support/example-client-attacks.ts'

withstandsEveryAttack(t, cClient)
