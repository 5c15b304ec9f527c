import { fileURLToPath } from 'node:url'
import type { ExampleClient } from '../support/example-client.ts'
import { findPython } from '../support/languages.ts'

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const file = findPython() ?? 'python3'
const program = { file, args: [path('../../examples/python/kunci_client.py')] }

export const pythonClient: ExampleClient = {
  program,
  driver: { file, args: [path('python_driver.py')] },
  trusting: (certificateFile: string) => ({ ...program, env: { SSL_CERT_FILE: certificateFile } }),
}
