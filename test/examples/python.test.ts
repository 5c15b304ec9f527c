import { fileURLToPath } from 'node:url'
import t from 'tap'
import { keepsTheProtocol } from '../support/example-client.ts'
import { believesNoStranger } from '../support/example-client-runs.ts'
import { asksTheServer } from '../support/example-client-server.ts'
import { findPython } from '../support/languages.ts'

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const file = findPython() ?? 'python3'
const program = { file, args: [path('../../examples/python/kunci_client.py')] }

const client = {
  program,
  driver: { file, args: [path('python_driver.py')] },
  trusting: (certificateFile: string) => ({ ...program, env: { SSL_CERT_FILE: certificateFile } }),
}

keepsTheProtocol(t, client)
believesNoStranger(t, client)
asksTheServer(t, client)
