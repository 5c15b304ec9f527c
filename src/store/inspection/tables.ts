import { sql } from '../../remedy.ts'
import type { Database, Reader, Row } from '../engine/database.ts'
import type { Damage } from '../engine/migrations.ts'
import { type Column, expectedTables, type Index, type Table } from '../engine/schema.ts'

/** Something about a table that a start bears; `isGrave` where data may be lost or mixed up. */
export type Flaw = Damage & { readonly isGrave: boolean }

type ColumnShape = Row & {
  table_name: string
  name: string
  type: string
  nullable: 'YES' | 'NO'
  collation: string | null
  fallback: string | null
  extra: string
}
type TableShape = Row & { table_name: string; engine: string | null; collation: string | null }
type IndexColumn = Row & { table_name: string; name: string; column_name: string }

const BINARY_TEXT = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin'
const WIDER: Readonly<Record<string, readonly string[]>> = { int: ['bigint'] }

/** A definition as the server shows it: type in small letters, collation, whether it may be empty. */
function wanted({ definition }: Column) {
  const [type = ''] = /^\w+(?:\(\d+\))?(?: UNSIGNED)?/i.exec(definition) ?? []
  const isText = /^VARCHAR/i.test(type)
  return {
    type: type.toLowerCase(),
    collation: isText ? (/COLLATE (\w+)/.exec(definition)?.[1] ?? 'utf8mb4_bin') : null,
    isRequired: /NOT NULL/.test(definition),
    counts: /AUTO_INCREMENT/.test(definition),
    beginsNow: /DEFAULT CURRENT_TIMESTAMP/.test(definition),
  }
}

function isWideEnough(type: string, actual: string): boolean {
  const [, width] = /^varchar\((\d+)\)$/.exec(type) ?? []
  const [, actualWidth] = /^varchar\((\d+)\)$/.exec(actual) ?? []
  if (width !== undefined && actualWidth !== undefined) return Number(actualWidth) >= Number(width)
  return actual === type || (WIDER[type]?.includes(actual) ?? false)
}

/** What is not as it should be about a column; nothing where all is well. */
function columnFlaws(column: Column, shape: ColumnShape): { what: string; isGrave: boolean }[] {
  const { type, collation, isRequired, counts, beginsNow } = wanted(column)
  // Old servers show the width that an integer is printed with.
  const actual = shape.type.toLowerCase().replace(/int\(\d+\)/, 'int')
  const flaws: { what: string; isGrave: boolean }[] = []
  if (!isWideEnough(type, actual)) flaws.push({ what: `is ${actual}, not ${type}`, isGrave: true })
  if (collation !== null && shape.collation !== collation)
    flaws.push({
      what: `compares by ${shape.collation}, not ${collation}`,
      isGrave: collation === 'ascii_bin' || !shape.collation?.startsWith('utf8mb4'),
    })
  if (isRequired && shape.nullable === 'YES') flaws.push({ what: 'may be empty', isGrave: true })
  if (counts && !/auto_increment/i.test(shape.extra))
    flaws.push({ what: 'does not count by itself', isGrave: true })
  if (beginsNow && (!/current_timestamp/i.test(shape.fallback ?? '') || /on update/i.test(shape.extra)))
    flaws.push({ what: 'has another default than CURRENT_TIMESTAMP', isGrave: true })
  return flaws
}

/** The definition with its character set said, as a table's own default may be another by now. */
function explicit({ definition }: Column): string {
  return /^VARCHAR\(\d+\)(?! (?:\/\*! )?CHARACTER SET)/.test(definition)
    ? definition.replace(/^VARCHAR\(\d+\)/, (type) => `${type} ${BINARY_TEXT}`)
    : definition.replace(/\/\*! (.*?) \*\//g, '$1')
}

/**
 * The lines that give a column its definition. A tool's own session need not be strict, and then cuts off what is too
 * long; and it has a zone of its own, by which it would read the UTC of a column that is no TIMESTAMP yet.
 */
function modification(table: string, column: Column, shape: ColumnShape | undefined): string {
  const becomesTimestamp = wanted(column).type === 'timestamp' && !/^timestamp/i.test(shape?.type ?? '')
  return [
    "SET sql_mode = 'STRICT_TRANS_TABLES';",
    ...(becomesTimestamp ? ["SET time_zone = '+00:00';"] : []),
    `ALTER TABLE ${table} MODIFY ${column.name} ${explicit(column)};`,
  ].join('\n')
}

function mysqlFlaws(table: Table, shape: TableShape, columns: readonly ColumnShape[]): Flaw[] {
  const { name } = table
  const flaws: Flaw[] = []
  const add = (what: string, statement: string, isGrave: boolean) =>
    flaws.push({ table: name, what, remedy: sql(statement), isGrave })
  if (shape.engine !== 'InnoDB')
    add(`${name} is kept by ${shape.engine}, not InnoDB`, `ALTER TABLE ${name} ENGINE = InnoDB;`, true)
  if (!shape.collation?.startsWith('utf8mb4'))
    add(
      `${name} has the character set of ${shape.collation}, not utf8mb4`,
      `ALTER TABLE ${name} DEFAULT ${BINARY_TEXT};`,
      false,
    )
  for (const column of table.columns) {
    const actual = columns.find((candidate) => candidate.name === column.name)
    const found = actual === undefined ? [] : columnFlaws(column, actual)
    if (found.length === 0) continue
    add(
      `${name}.${column.name} ${found.map(({ what }) => what).join(' and ')}`,
      modification(name, column, actual),
      found.some(({ isGrave }) => isGrave),
    )
  }
  return flaws
}

/** An index serves where its first columns are the wanted ones, whatever it is called. */
function indexFlaws({ name: table, indexes }: Table, actual: readonly Index[]): Flaw[] {
  return indexes
    .filter(({ columns }) => !actual.some((index) => `${index.columns}, `.startsWith(`${columns}, `)))
    .map(({ name, columns }) => {
      const isTaken = actual.some((index) => index.name === name)
      return {
        table,
        what: `${table} has lost its index ${name} (${columns})`,
        remedy: sql(`CREATE INDEX ${isTaken ? `${name}_2` : name} ON ${table} (${columns});`),
        isGrave: false,
      }
    })
}

async function readIndexes(db: Reader, dialect: Database['dialect']): Promise<Map<string, Index[]>> {
  const rows = await db.all<IndexColumn>(
    dialect === 'mysql'
      ? `SELECT table_name AS table_name, index_name AS name, column_name AS column_name
         FROM information_schema.statistics WHERE table_schema = DATABASE()
         ORDER BY table_name, index_name, seq_in_index`
      : `SELECT m.name AS table_name, l.name AS name, i.name AS column_name
         FROM sqlite_master m, pragma_index_list(m.name) l, pragma_index_info(l.name) i
         WHERE m.type = 'table' ORDER BY m.name, l.name, i.seqno`,
  )
  const tables = new Map<string, Index[]>()
  for (const [table, ofTable] of Map.groupBy(rows, ({ table_name }) => table_name)) {
    const indexes = Map.groupBy(ofTable, ({ name }) => name)
    tables.set(
      table,
      [...indexes].map(([name, columns]) => ({
        name,
        columns: columns.map(({ column_name }) => column_name).join(', '),
      })),
    )
  }
  return tables
}

async function readMysqlShapes(db: Reader) {
  const tables = await db.all<TableShape>(
    `SELECT table_name AS table_name, engine AS engine, table_collation AS collation
     FROM information_schema.tables WHERE table_schema = DATABASE()`,
  )
  const columns = await db.all<ColumnShape>(
    `SELECT table_name AS table_name, column_name AS name, column_type AS type, is_nullable AS nullable,
            collation_name AS collation, column_default AS fallback, extra AS extra
     FROM information_schema.columns WHERE table_schema = DATABASE()`,
  )
  return { tables, columns }
}

/** Compares the tables that are there with those of the numbered files: kinds of columns, indexes, engine, characters. */
export async function tableFlaws(db: Reader, dialect: Database['dialect']): Promise<Flaw[]> {
  const indexes = await readIndexes(db, dialect)
  const shapes = dialect === 'mysql' ? await readMysqlShapes(db) : null
  return expectedTables(dialect).flatMap((table) => {
    const shape = shapes?.tables.find(({ table_name }) => table_name === table.name)
    const columns = shapes?.columns.filter(({ table_name }) => table_name === table.name) ?? []
    return [
      ...(shape === undefined ? [] : mysqlFlaws(table, shape, columns)),
      ...indexFlaws(table, indexes.get(table.name) ?? []),
    ]
  })
}
