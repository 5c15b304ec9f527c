import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import type { Clock } from './clock.ts'
import { type Config, sqlitePath } from './config.ts'
import { wrapSessionKey } from './crypto/row-wrap.ts'
import { createCheckRecords } from './domain/check-records.ts'
import { createChecks } from './domain/checks.ts'
import { createCleanup } from './domain/cleanup.ts'
import { createCounters } from './domain/counters.ts'
import { createCredentials } from './domain/credentials.ts'
import { createDevices } from './domain/devices.ts'
import { createEvents, type Events } from './domain/events.ts'
import { createImports } from './domain/imports.ts'
import { createKeyPairs, type KeyPairs } from './domain/key-pairs.ts'
import { createKeyRotation } from './domain/key-rotation.ts'
import { createKeySets } from './domain/key-sets.ts'
import { createKeys } from './domain/keys.ts'
import { createLeases } from './domain/leases.ts'
import { createLicenceKeys } from './domain/licence-keys.ts'
import { createLicences } from './domain/licences.ts'
import { createLimits, type Limits } from './domain/limits.ts'
import { createLoginBackoff } from './domain/login-backoff.ts'
import { createLoginChecks } from './domain/login-checks.ts'
import { createLogins } from './domain/logins.ts'
import { createOneTimeCodes } from './domain/one-time-codes.ts'
import { createPasswords } from './domain/passwords.ts'
import { createProducts, type Products } from './domain/products.ts'
import { createRecognition, type Recognition } from './domain/recognition.ts'
import { createAdmission } from './domain/sealed/admission.ts'
import { createCalls } from './domain/sealed/calls.ts'
import { createEnvelopes } from './domain/sealed/envelopes.ts'
import { createHandshakes } from './domain/sealed/handshakes.ts'
import { createMachines } from './domain/sealed/machines.ts'
import { createOperations } from './domain/sealed/operations.ts'
import { createPresence } from './domain/sealed/presence.ts'
import { createSeats, createSeatTerms, type SeatTerms } from './domain/seats.ts'
import { createSessionEndings } from './domain/session-endings.ts'
import { createSessionExpiry } from './domain/session-expiry.ts'
import { createSessionKeys } from './domain/session-keys.ts'
import { createSessionPolicies } from './domain/session-policies.ts'
import { createSessions, type Sessions } from './domain/sessions.ts'
import { createSetup } from './domain/setup.ts'
import { createSignInMoves } from './domain/sign-in-moves.ts'
import { createStreams } from './domain/streams/hub.ts'
import { createPolls } from './domain/streams/polls.ts'
import { createStreamRetention } from './domain/streams/retention.ts'
import { createTail, type Tail } from './domain/streams/tail.ts'
import { createStreamTickets } from './domain/streams/tickets.ts'
import { createTokens } from './domain/tokens.ts'
import { createUserImports } from './domain/user-imports.ts'
import { createUsers } from './domain/users.ts'
import { SetupError } from './errors.ts'
import type { Logger } from './log.ts'
import { memoised } from './memo.ts'
import { pooledRandom, type Random } from './random.ts'
import { blockStore } from './store/blocks.ts'
import { checkStore } from './store/checks.ts'
import { openCountries } from './store/countries.ts'
import { deviceStore } from './store/devices.ts'
import { installCleanupEvent } from './store/engine/cleanup-event.ts'
import type { Database } from './store/engine/database.ts'
import {
  isWhole,
  type MigrationWork,
  migrate,
  requireWholeSchema,
  type SchemaStatus,
  schemaStatus,
  untouchedStatus,
} from './store/engine/migrations.ts'
import { MysqlDatabase } from './store/engine/mysql.ts'
import { adoptSessionKeys, type WrapPlainRow } from './store/engine/session-keys-adoption.ts'
import { SqliteDatabase } from './store/engine/sqlite.ts'
import { enrolmentStore } from './store/enrolments.ts'
import { eventStore } from './store/events.ts'
import { importStore } from './store/imports.ts'
import { keyFileStore } from './store/key-files.ts'
import { keySetStore } from './store/key-sets.ts'
import { createKeyWatch } from './store/key-watch.ts'
import { type Keyring, keyChecksOf, openKeyring, ringsInFiles } from './store/keyring.ts'
import { licenceStore } from './store/licences.ts'
import { type MessageStore, messageStore } from './store/messages.ts'
import { openOldServer } from './store/old-server/open.ts'
import { openOldUsers } from './store/old-users/open.ts'
import { productStore } from './store/products.ts'
import { currentKey, keysOf, type Ring } from './store/ring.ts'
import { type SeatStore, seatStore } from './store/seats.ts'
import { type SessionKeyStore, sessionKeyStore } from './store/session-keys.ts'
import { sessionPolicyStore } from './store/session-policies.ts'
import { sessionStore } from './store/sessions.ts'
import { issuerOf, noteKeyChecks, pinger, readKeyChecks } from './store/settings.ts'
import { signInStore } from './store/sign-ins.ts'
import { streamStore } from './store/stream.ts'
import { streamTicketStore } from './store/stream-tickets.ts'
import { tokenStore } from './store/tokens.ts'
import { userImportStore } from './store/user-imports.ts'
import { userStore } from './store/users.ts'

/** What a test or an embedder may put in the place of the real thing. */
export type Ports = { readonly logger: Logger; readonly clock?: Clock; readonly random?: Random }

export type App = Awaited<ReturnType<typeof createApp>>

/** Never opens a file that is there: closing it again would drop the locks that SQLite holds on it in this process. */
function makePrivateFile(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/** @throws {SetupError} when the database cannot be reached, with the address but never the password. */
export async function openDatabase(config: Config): Promise<Database> {
  if (config.databaseUrl === undefined) {
    mkdirSync(config.dataDir, { recursive: true, mode: 0o700 })
    // Its owner's alone, wherever it lies; SQLite gives its other files the same mode.
    makePrivateFile(sqlitePath(config))
    return new SqliteDatabase(sqlitePath(config))
  }
  try {
    return await MysqlDatabase.open(config.databaseUrl, config.databasePoolSize)
  } catch (error) {
    const { hostname, port, pathname, username } = new URL(config.databaseUrl)
    throw new SetupError(
      `The database ${pathname.slice(1)} on ${hostname}:${port || 3306} cannot be used as ${username}: ${(error as Error).message}\n` +
        'Check DATABASE_URL, that the server runs, and that this login may use this database.',
      { cause: error },
    )
  }
}

function plainRowWrapper(keyring: Keyring, random: Random): WrapPlainRow {
  return (sessionId, keyText, ivText) => {
    const [key, iv] = [Buffer.from(keyText, 'hex'), Buffer.from(ivText, 'hex')]
    if (key.length !== 32 || keyText.length !== 64 || iv.length !== 16 || ivText.length !== 32) return null
    const { kek } = keyring
    const context = { suite: 'L0', sessionId, iv } as const
    const wrapped = wrapSessionKey(currentKey(kek), kek.current, context, key, random(12))
    return { key: wrapped, iv: iv.toString('hex') }
  }
}

type KeyPorts = { readonly random: Random; readonly clock: Clock }

async function openKeys(db: Database, config: Config, ports: KeyPorts) {
  const known = await readKeyChecks(db)
  const opened = openKeyring(config, known, ports)
  await noteKeyChecks(db, known, keyChecksOf(opened.keyring))
  return opened
}

/** The keys come first, as old rows are wrapped with them; their check values last, as they need a table. */
async function bringUpToDate(db: Database, config: Config, ports: KeyPorts) {
  const known = await readKeyChecks(db)
  const opened = openKeyring(config, known, ports)
  const wrap = plainRowWrapper(opened.keyring, ports.random)
  const work: MigrationWork = {
    '0001_session_keys': (session) => adoptSessionKeys(session, db.dialect, wrap),
  }
  const applied = await migrate(db, work)
  await noteKeyChecks(db, known, keyChecksOf(opened.keyring))
  return { ...opened, applied }
}

/**
 * Opens database and keys and brings the tables up to date.
 * @returns the names of the migrations that were run, and what could not be set up but can be done without.
 * @throws {SetupError} with what is in the way and what mends it. Nothing is half done.
 */
export async function migrateDatabase(config: Config, { random = pooledRandom() }: Partial<Ports> = {}) {
  const db = await openDatabase(config)
  try {
    const { applied, created } = await bringUpToDate(db, config, { random, clock: db.clock })
    return { applied, createdKeys: created, warnings: await installCleanupEvent(db) }
  } finally {
    await db.close()
  }
}

/** How far the tables are, without changing anything: an SQLite file that is not there is not made either. */
export async function databaseStatus(config: Config): Promise<SchemaStatus> {
  if (config.databaseUrl === undefined && !existsSync(sqlitePath(config))) return untouchedStatus('sqlite')
  const db = await openDatabase(config)
  try {
    return await schemaStatus(db, db.dialect)
  } finally {
    await db.close()
  }
}

/**
 * The whole application but HTTP: database, stores, services. SQLite migrates by itself; MySQL must have been migrated.
 * @throws {SetupError} when anything a start needs is missing; the message names what mends it.
 */
export async function createApp(config: Config, ports: Ports) {
  const { logger, random = pooledRandom() } = ports
  const db = await openDatabase(config)
  const clock = ports.clock ?? db.clock
  try {
    const status = await schemaStatus(db, db.dialect)
    // Only where there is something to do: reading must not wait for somebody else's write lock.
    const updated =
      db.dialect === 'sqlite' && !isWhole(status)
        ? await bringUpToDate(db, config, { random, clock })
        : undefined
    requireWholeSchema(updated === undefined ? status : await schemaStatus(db, db.dialect))
    const keys = updated ?? (await openKeys(db, config, { random, clock }))
    const { keyring, filed, created: createdKeys } = keys
    return {
      config,
      createdKeys,
      countryOf: await openCountries(config.countryDatabase),
      /** Of the legacy contract's tokens as they are now: the first signs, all verify. */
      legacySecrets: () => secretsOf(keyring['legacy-jwt']),
      keyWatch: createKeyWatch({
        ...{ db, directory: config.keysDir, filed },
        onReload: (ring) => logger.info({ event: 'keys.reloaded', ring }),
        onError: (ring, error) => logger.error({ event: 'keys.not_reloaded', ring, err: error }),
      }),
      ...createServices(config, { logger, random, clock }, db, {
        keyring,
        issuer: config.issuer ?? (await issuerOf(db, random)),
      }),
    }
  } catch (error) {
    await db.close()
    throw error
  }
}

const secretsOf = memoised((ring: Ring): readonly [Buffer, ...Buffer[]] => {
  const [, ...others] = keysOf(ring)
  return [currentKey(ring).export(), ...others.map((key) => key.export())]
})

/** What this installation is known and trusted by. */
type Identity = { readonly keyring: Keyring; readonly issuer: string }

function createServices(config: Config, ports: Required<Ports>, db: Database, identity: Identity) {
  const { logger, clock, random } = ports
  const { keyring, issuer } = identity
  const onError = (error: unknown) => logger.error({ event: 'background.failed', err: error })
  const sessionKeyRows = sessionKeyStore(db)
  const licenceRows = licenceStore(db)
  const blocks = blockStore(db)
  const events = createEvents({ store: eventStore(db), clock, random, onError })
  const limits = createLimits({
    perMinute: config.rateLimitPerMinute,
    ...{ workers: config.workers, blocks, events, clock },
  })
  const products = createProducts({
    store: productStore(db),
    ...{ events, clock, random, legacyProduct: config.legacyProduct },
  })
  const sessionKeys = createSessionKeys({
    store: sessionKeyRows,
    keyring,
    ...{ clock, random, ttlS: config.sessionKeyTtlS },
  })
  const recognition = createRecognition({ store: licenceRows, keyring, random })
  const licences = createLicences({ store: licenceRows, products, events, recognition, clock, random })
  const checks = createChecks({
    store: checkStore(db),
    records: createCheckRecords({ recognition, events, clock, singleUse: config.legacySingleUse }),
    ...{ sessionKeys, recognition, products, limits, events, clock },
  })
  const messages = messageStore(db)
  const seatRows = seatStore(db)
  const seatTerms = createSeatTerms({ clock, checkAgainAfterS: config.checkAgainAfterS })
  const keyPairs = createKeyPairs({ keyring })
  const keys = createKeys({ keyring, keyPairs })
  const streamTail = createTail({ store: streamStore(db), clock, onError })
  const accounts = createAccounts(config, ports, db, { keyring, events, onTold: streamTail.poke, onError })
  const live = createLiveStreams(ports, db, { tail: streamTail, sessions: accounts.sessions, onError })
  const cleanup = createCleanup({
    store: sessionKeyRows,
    ...{ messages, blocks, expiry: accounts.sessionExpiry, streams: live.streamRetention, clock, onError },
  })
  return {
    logger,
    clock,
    random,
    counters: createCounters(),
    events,
    limits,
    products,
    sessionKeys,
    keyPairs,
    keys,
    keySets: createKeySets({ store: keySetStore(db), keys, issuer, events, clock }),
    keyRotation: createKeyRotation({
      files: keyFileStore(db, config.keysDir),
      rings: ringsInFiles(config),
      ...{ sessionKeyTtlS: config.sessionKeyTtlS, events, clock, random },
    }),
    issuer,
    ...accounts,
    ...live,
    ...createSealed(config, ports, db, identity, {
      ...{ sessionKeyRows, messages, seatRows, seatTerms },
      ...{ keyPairs, products, recognition, limits, events, onError },
    }),
    licences,
    licenceKeys: createLicenceKeys({
      ...{ store: licenceRows, find: licences.find, events, recognition, random },
    }),
    seats: createSeats({ store: seatRows, licences, terms: seatTerms }),
    checks,
    cleanup,
    imports: createImports({
      store: importStore(db),
      openSource: openOldServer,
      ...{ products, recognition, sessionKeys, events, clock },
    }),
    userImports: createUserImports({
      store: userImportStore(db),
      openSource: openOldUsers,
      ...{ events, historyDays: config.sessionHistoryDays, clock, random },
    }),
    devices: createDevices({ store: deviceStore(db), licences, events, clock }),
    tokens: createTokens({ store: tokenStore(db), events, clock, random }),
    /** @throws {StoreError} while the database does not answer. */
    ping: pinger(db),
    close: async () => {
      await events.close().catch(onError)
      await accounts.sessions.close().catch(onError)
      await db.close()
    },
  }
}

type AccountNeeds = {
  readonly keyring: Keyring
  readonly events: Events
  readonly onTold: () => void
  readonly onError: (error: unknown) => void
}

/** Those who sign in, and their sessions. */
function createAccounts(
  config: Config,
  { clock, random }: Required<Ports>,
  db: Database,
  { keyring, events, onTold, onError }: AccountNeeds,
) {
  const userRows = userStore(db)
  const signIns = signInStore(db)
  const sessionRows = sessionStore(db)
  const sessions = createSessions({ store: sessionRows, events, clock, onTold, onError })
  const passwords = createPasswords({
    cost: { memoryKib: config.argon2MemoryKib, passes: config.argon2Passes, lanes: config.argon2Lanes },
    ...{ minLength: config.passwordMinLength, random },
  })
  const users = createUsers({ store: userRows, passwords, sessions, events, clock, random })
  const codes = createOneTimeCodes({ keyring, clock, random })
  const sessionPolicies = createSessionPolicies({ store: sessionPolicyStore(db), events, clock })
  const terms = {
    user: { idleS: config.sessionIdleS, maxS: config.sessionMaxS },
    operator: { idleS: config.operatorSessionIdleS, maxS: config.operatorSessionMaxS },
  }
  const backoff = createLoginBackoff({
    ...{ workers: config.workers, isOff: config.rateLimitPerMinute === 0, clock },
  })
  const checks = createLoginChecks({ store: userRows, passwords, codes, backoff, events, clock, onError })
  const sessionExpiry = createSessionExpiry({
    ...{ store: sessionRows, signIns, sessions, historyDays: config.sessionHistoryDays, clock, onError },
  })
  return {
    ...{ users, sessions, sessionPolicies, sessionExpiry },
    sessionEndings: createSessionEndings({ store: sessionRows, signIns, sessions, events, clock }),
    credentials: createCredentials({ store: userRows, users, checks, codes }),
    setup: createSetup({ store: userRows, users, clock, random }),
    logins: createLogins({
      ...{ signIns, users, policies: sessionPolicies, sessions, checks, clock },
      moveOf: createSignInMoves({ sessions, events, terms, random }),
      onAsked: sessionExpiry.endOverdueAt,
    }),
  }
}

type StreamNeeds = {
  readonly tail: Tail
  readonly sessions: Sessions
  readonly onError: (error: unknown) => void
}

/** What happens to users and sessions, told as it happens. */
function createLiveStreams(
  { clock, random }: Required<Ports>,
  db: Database,
  { tail, sessions, onError }: StreamNeeds,
) {
  const store = streamStore(db)
  const tickets = streamTicketStore(db)
  const streams = createStreams({ store, tail, sessions, tickets, clock, onError })
  return {
    streams,
    poll: createPolls(streams),
    streamTickets: createStreamTickets({ store: tickets, sessions, clock, random }),
    streamRetention: createStreamRetention({ store, tickets, clock }),
  }
}

type SealedNeeds = {
  readonly sessionKeyRows: SessionKeyStore
  readonly messages: MessageStore
  readonly seatRows: SeatStore
  readonly seatTerms: SeatTerms
  readonly keyPairs: KeyPairs
  readonly products: Products
  readonly recognition: Recognition
  readonly limits: Limits
  readonly events: Events
  readonly onError: (error: unknown) => void
}

/** The sealed suites: handshakes, and the calls that follow them. */
function createSealed(
  config: Config,
  { clock, random }: Required<Ports>,
  db: Database,
  { keyring, issuer }: Identity,
  needs: SealedNeeds,
) {
  const { sessionKeyRows, messages, seatRows, seatTerms, keyPairs } = needs
  const { products, recognition, limits, events, onError } = needs
  const { leaseTtlS: ttlS, leaseGraceS: graceS, leaseRunS: runS, checkAgainAfterS } = config
  const judge = createAdmission({
    store: enrolmentStore(db),
    machines: createMachines({ keyring }),
    ...{ products, recognition, seatTerms, limits, events, clock, random },
  })
  const presence = createPresence({ store: seatRows, terms: seatTerms, events, clock })
  const leases = createLeases({ keyPairs, issuer, terms: { ttlS, graceS, runS }, clock, random })
  return {
    handshakes: createHandshakes({
      store: sessionKeyRows,
      ...{ keyring, keyPairs, clock, random, ttlS: config.sessionKeyTtlS },
    }),
    calls: createCalls({
      envelopes: createEnvelopes({ sessions: sessionKeyRows, keyring, clock, random }),
      operations: createOperations({
        ...{ judge, presence, leases, limits, events, clock, random, checkAgainAfterS },
      }),
      ...{ messages, limits, clock, onError },
    }),
  }
}
