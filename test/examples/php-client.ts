import { fileURLToPath } from 'node:url'
import type { ExampleClient } from '../support/example-client.ts'
import { findPhp } from '../support/languages.ts'

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const file = findPhp() ?? 'php'
const script = path('../../examples/php/kunci_client.php')

export const phpClient: ExampleClient = {
  program: { file, args: [script] },
  driver: { file, args: [path('php_driver.php')] },
  trusting: (certificateFile: string) => ({ file, args: ['-d', `curl.cainfo=${certificateFile}`, script] }),
}
