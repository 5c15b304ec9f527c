import { fileURLToPath } from 'node:url'
import t from 'tap'
import { keepsTheProtocol } from '../support/example-client.ts'
import { believesNoStranger } from '../support/example-client-runs.ts'
import { asksTheServer } from '../support/example-client-server.ts'
import { findPhp } from '../support/languages.ts'

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const file = findPhp() ?? 'php'
const script = path('../../examples/php/kunci_client.php')

const client = {
  program: { file, args: [script] },
  driver: { file, args: [path('php_driver.php')] },
  trusting: (certificateFile: string) => ({ file, args: ['-d', `curl.cainfo=${certificateFile}`, script] }),
}

keepsTheProtocol(t, client)
believesNoStranger(t, client)
asksTheServer(t, client)
