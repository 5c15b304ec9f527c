import t from 'tap'
import { phpClient } from '../examples/php-client.ts'
import { withstandsEveryAttack } from '../support/example-client-attacks.ts'

withstandsEveryAttack(t, phpClient)
