import t from 'tap'
import { javaClient } from '../examples/java-client.ts'
import { withstandsEveryAttack } from '../support/example-client-attacks.ts'

withstandsEveryAttack(t, javaClient)
