import t from 'tap'
import { asksTheServer } from '../support/example-client-server.ts'
import { javaClient } from './java-client.ts'

asksTheServer(t, javaClient)
