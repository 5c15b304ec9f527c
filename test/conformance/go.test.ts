import t from 'tap'
import { goClient } from '../examples/go-client.ts'
import { withstandsEveryAttack } from '../support/example-client-attacks.ts'

withstandsEveryAttack(t, goClient)
