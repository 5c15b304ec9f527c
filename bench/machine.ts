import { readFileSync } from 'node:fs'
import { cpus, release, totalmem, type } from 'node:os'
import type { Lab } from './lab.ts'

function versionOf(dependency: string): string {
  return JSON.parse(
    readFileSync(new URL(`../node_modules/${dependency}/package.json`, import.meta.url), 'utf8'),
  ).version
}

function system(): string {
  const kernel = `${type()} ${release().split('-')[0]}`
  try {
    const name = /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
    return name === undefined ? kernel : `${name} (${kernel})`
  } catch {
    return kernel
  }
}

/** What the figures were taken on and with, in two lines. No name of a host and no path. */
export function conditions(lab: Lab, today: Date, durableMs: number): string {
  const cores = cpus()
  const memory = `${(totalmem() / 2 ** 30).toFixed(1)} GiB`
  const durable = `4 KiB durable in ${durableMs.toFixed(2)} ms`
  const machine = [
    cores[0]?.model.trim() || 'unknown CPU',
    `${cores.length} cores`,
    memory,
    system(),
    durable,
  ]
  const database = lab.mariadbVersion()
  const versions = [
    `Node ${process.versions.node}`,
    `Fastify ${versionOf('fastify')}`,
    ...(database === undefined ? [] : [`MariaDB ${database.split('-')[0]}`]),
    `${lab.driver.name} ${lab.driver.version}`,
  ]
  return `${today.toISOString().slice(0, 10)}. ${machine.join(', ')}.\n${versions.join(', ')}.`
}
