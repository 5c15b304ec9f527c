import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { realpathSync, writeFileSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path'
import { type P256Jwk, type SigningKey, signingKeyOf } from '../crypto/jwk.ts'
import { AppError, SetupError } from '../errors.ts'
import { readPrivate } from './keyring.ts'

function actualPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return resolve(path)
  }
}

function isInside(path: string, directory: string): boolean {
  const way = relative(directory, path)
  return !isAbsolute(way) && way.split(sep, 1)[0] !== '..'
}

/**
 * Makes a root key: ES256, in PKCS #8 PEM, for its owner alone.
 * @param keysDir where it may not lie, as the server must not have it.
 * @throws {AppError} `invalid_argument` for a path in there, or one that is taken.
 */
export function makeRootKey(file: string, keysDir: string): SigningKey<P256Jwk> {
  const place = join(actualPath(dirname(resolve(file))), basename(file))
  if (isInside(place, actualPath(keysDir)))
    throw new AppError('invalid_argument', {
      detail: `${place} is inside KEYS_DIR: a root key belongs where no server can read it`,
    })
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  try {
    const pem = privateKey.export({ format: 'pem', type: 'pkcs8' })
    writeFileSync(place, pem, { mode: 0o600, flag: 'wx', flush: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST')
      throw new SetupError(`${place} cannot be written: ${(error as Error).message}`)
    throw new AppError('invalid_argument', {
      detail: `${place} is there already; nothing is written over it`,
    })
  }
  return signingKeyOf(privateKey)
}

/** @throws {SetupError} for a file that is missing, readable by others, or no ES256 key. */
export function readRootKey(file: string): SigningKey<P256Jwk> {
  const pem = readPrivate(file)
  if (pem === null) throw new SetupError(`${file} is missing. kunci keys root makes a root key.`)
  try {
    return signingKeyOf(createPrivateKey(pem))
  } catch {
    throw new SetupError(`${file} holds no ES256 private key in PEM, as kunci keys root makes one.`)
  }
}
