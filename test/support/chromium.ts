import { findProgram } from './mariadb-install.ts'

/** `undefined` where none is installed. */
export function findChromium(): string | undefined {
  return findProgram(
    ['chromium', 'chromium-browser', 'google-chrome', 'Chromium'],
    ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin', '/Applications/Chromium.app/Contents/MacOS'],
  )
}

/** What keeps it to the page it is shown; as root it has no sandbox of its own. */
export const CHROMIUM_ARGS = [
  ...['--no-sandbox', '--no-first-run', '--disable-quic', '--disable-sync'],
  ...['--disable-background-networking', '--disable-component-update'],
]
