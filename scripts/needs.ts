import { findChromium } from '../test/support/chromium.ts'
import { findFaketime } from '../test/support/faketime.ts'
import { findGo, findJava, findOpensslHeaders, findPhp, findPython } from '../test/support/languages.ts'
import { findProgram, findServerBinary } from '../test/support/mariadb-install.ts'
import { findMono } from '../test/support/mono.ts'
import { findNginx } from '../test/support/nginx.ts'
import { findPublishedVectors } from '../test/support/published-vectors.ts'
import { findCompiler, findSpin } from '../test/support/spin.ts'

export type Need = {
  readonly what: string
  readonly find: () => string | undefined
  /** What it is called by each package manager; names stand between spaces. */
  readonly debian: string
  readonly fedora: string
  readonly homebrew?: string
  /** Without it some tests are skipped, and say so. */
  readonly optional?: true
}

/** What the tests need on the machine, beside what npm brings. */
export const NEEDS: readonly Need[] = [
  {
    what: 'database server',
    find: () => (process.env.KUNCI_TEST_MYSQL_URL ? 'the one of KUNCI_TEST_MYSQL_URL' : findServerBinary()),
    debian: 'mariadb-server',
    fedora: 'mariadb-server',
    homebrew: 'mariadb',
  },
  {
    what: 'Python 3 with cryptography',
    find: findPython,
    debian: 'python3-cryptography',
    fedora: 'python3-cryptography',
    homebrew: 'cryptography',
  },
  {
    what: 'Java 17 or newer',
    find: findJava,
    debian: 'default-jdk-headless',
    fedora: 'java-latest-openjdk-devel',
    homebrew: 'openjdk',
  },
  {
    what: 'OpenSSL',
    find: () => findProgram(['openssl'], ['/usr/bin', '/opt/homebrew/bin', '/usr/local/bin']),
    debian: 'openssl',
    fedora: 'openssl',
    homebrew: 'openssl',
  },
  {
    what: 'nginx',
    find: findNginx,
    debian: 'nginx-light',
    fedora: 'nginx',
    homebrew: 'nginx',
  },
  {
    what: 'Spin',
    find: findSpin,
    debian: 'spin',
    fedora: 'spin',
    homebrew: 'spin',
  },
  {
    what: 'C compiler',
    find: findCompiler,
    // Debian's gcc alone comes without the headers of the C library.
    debian: 'build-essential',
    fedora: 'gcc',
    homebrew: 'gcc',
  },
  {
    what: 'faketime',
    find: findFaketime,
    debian: 'faketime',
    fedora: 'libfaketime',
    homebrew: 'libfaketime',
    optional: true,
  },
  {
    what: "NIST's test vectors",
    find: findPublishedVectors,
    debian: 'python3-cryptography-vectors',
    fedora: 'python3-cryptography-vectors',
    optional: true,
  },
  {
    what: 'PHP with curl, intl, openssl and sodium',
    find: findPhp,
    debian: 'php-cli php-curl php-intl',
    fedora: 'php-cli php-intl php-sodium',
    homebrew: 'php',
  },
  {
    what: 'Go with golang.org/x/crypto and x/text',
    find: () => findGo()?.file,
    debian: 'golang-go golang-golang-x-crypto-dev golang-golang-x-text-dev',
    fedora: 'golang',
    homebrew: 'go',
  },
  {
    what: "OpenSSL's headers",
    find: findOpensslHeaders,
    debian: 'libssl-dev',
    fedora: 'openssl-devel',
    homebrew: 'openssl',
  },
  {
    what: 'Mono with its C# compiler',
    find: () => findMono()?.runtime,
    debian: [
      'mono-mcs mono-runtime libmono-system-core4.0-cil libmono-system-management4.0-cil',
      'libmono-system-net-http4.0-cil libmono-system-numerics4.0-cil libmono-system-security4.0-cil',
    ].join(' '),
    fedora: 'mono-core mono-extras',
    homebrew: 'mono',
  },
  {
    what: 'Chromium',
    find: findChromium,
    debian: 'chromium',
    fedora: 'chromium',
    homebrew: 'chromium',
  },
]
