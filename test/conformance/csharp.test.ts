import t from 'tap'
import { csharpClient } from '../examples/csharp-client.ts'
import { withstandsEveryAttack } from '../support/example-client-attacks.ts'

withstandsEveryAttack(t, csharpClient)
