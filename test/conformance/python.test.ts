import t from 'tap'
import { pythonClient } from '../examples/python-client.ts'
import { withstandsEveryAttack } from '../support/example-client-attacks.ts'

withstandsEveryAttack(t, pythonClient)
