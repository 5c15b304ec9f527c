import { chmodSync, existsSync, mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import { scratchDirectory } from './children.ts'
import { until } from './installation.ts'
import { type MariadbServer, startMariadb } from './mariadb.ts'
import { freePort } from './server.ts'

const PLACES = [
  '/usr/lib/galera/libgalera_smm.so',
  '/usr/lib64/galera/libgalera_smm.so',
  '/usr/lib64/galera-4/libgalera_smm.so',
  '/usr/lib/libgalera_smm.so',
]

/** What makes a MariaDB server a node of a cluster; `undefined` where it is not installed. */
export function findGalera(): string | undefined {
  return PLACES.find((path) => existsSync(path))
}

const TRANSFER = 'copied'

/**
 * How a node that joins comes by the data of another: a program that both servers run, the joining one before it opens
 * any file, see Galera's documentation of scriptable state snapshot transfers. The programs that come with the server
 * need rsync, whose daemon does not write what root owns.
 */
const TRANSFER_PROGRAM = `#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
    --role) role=$2 ;;
    --address) address=$2 ;;
    --datadir) data=$2 ;;
  esac
  shift
done
if [ "$role" = joiner ]; then
  echo "ready $data"
  until [ -s "$data/position" ]; do sleep 0.1; done
  cat "$data/position"
else
  echo 'flush tables'
  until [ -s "$data/tables_flushed" ]; do sleep 0.1; done
  position=$(cat "$data/tables_flushed")
  tar -C "$data" --exclude=./galera.cache --exclude='./*state.dat' --exclude=./tables_flushed -cf - . |
    tar -C "$address" -xf -
  echo continue
  echo "$position" > "$address/position.new"
  mv "$address/position.new" "$address/position"
  echo "done $position"
fi
`

async function startNode(library: string, programs: string, join?: number) {
  const [group, transfer] = [await freePort(), await freePort()]
  const provider = `gmcast.listen_addr=tcp://127.0.0.1:${group};ist.recv_addr=127.0.0.1:${transfer}`
  const server = await startMariadb({
    env: { PATH: `${programs}:${process.env.PATH}` },
    args: [
      '--wsrep-on=ON',
      `--wsrep-provider=${library}`,
      `--wsrep-provider-options=${provider};gcache.size=16M`,
      `--wsrep-cluster-address=gcomm://${join === undefined ? '' : `127.0.0.1:${join}`}`,
      `--wsrep-node-address=127.0.0.1:${group}`,
      `--wsrep-sst-method=${TRANSFER}`,
      '--binlog-format=ROW',
      '--innodb-autoinc-lock-mode=2',
    ],
  })
  await until('the node is one of the cluster', async () => {
    const connection = await createConnection(server.rootUrl())
    const [rows] = await connection.query<RowDataPacket[]>("SHOW STATUS LIKE 'wsrep_local_state_comment'")
    connection.destroy()
    return rows[0]?.Value === 'Synced'
  })
  return { server, group }
}

/** A cluster of two nodes on loopback. It ends with this process. */
export async function startGalera(library: string): Promise<readonly [MariadbServer, MariadbServer]> {
  const programs = mkdtempSync(join(scratchDirectory(), 'programs-'))
  const program = join(programs, `wsrep_sst_${TRANSFER}`)
  writeFileSync(program, TRANSFER_PROGRAM)
  chmodSync(program, 0o700)
  const first = await startNode(library, programs)
  const second = await startNode(library, programs, first.group)
  return [first.server, second.server]
}
