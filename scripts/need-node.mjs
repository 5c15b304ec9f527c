// Runs before every script, in syntax that any Node understands: an old Node would otherwise stop at the first
// TypeScript file with a message that names neither the cause nor the cure.
const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 24 || (major === 24 && minor < 7)) {
  console.error(
    `kunci needs Node.js 24.7 or newer; this is ${process.versions.node}.\n` +
      'npm normally puts one into node_modules. If it was told not to run install scripts, run:\n' +
      '  npm rebuild node\n' +
      'or install Node.js 24 (https://nodejs.org) and try again.',
  )
  process.exit(1)
}
