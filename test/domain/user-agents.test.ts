import t from 'tap'
import { deviceOf } from '../../src/domain/user-agents.ts'

const WEBKIT = 'AppleWebKit/537.36 (KHTML, like Gecko)'
const IOS = 'AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1'

t.test('devices are known by what their browsers say', async (t) => {
  for (const [userAgent, type, name] of [
    [
      `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${WEBKIT} Chrome/126.0.0.0 Safari/537.36`,
      'desktop',
      'Chrome on Windows',
    ],
    ['Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0', 'desktop', 'Firefox on Linux'],
    [`Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) ${IOS}`, 'mobile', 'Safari on iOS'],
    [`Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) ${IOS}`, 'tablet', 'Safari on iOS'],
    [
      `Mozilla/5.0 (Linux; Android 14; Pixel 8) ${WEBKIT} Chrome/126.0.0.0 Mobile Safari/537.36`,
      'mobile',
      'Chrome on Android',
    ],
    [
      `Mozilla/5.0 (Linux; Android 13; SM-X700) ${WEBKIT} Chrome/126.0.0.0 Safari/537.36`,
      'tablet',
      'Chrome on Android',
    ],
  ] as const)
    t.same(deviceOf(userAgent), { type, name })
})

t.test('what is no browser is a desktop with the name of its program', async (t) => {
  t.same(deviceOf('MyTool/2.0 (Windows NT 10.0)'), { type: 'desktop', name: 'MyTool on Windows' })
  t.same(deviceOf('curl/8.5.0'), { type: 'desktop', name: 'curl' })
  t.same(deviceOf('node'), { type: 'desktop', name: 'node' })
  t.same(deviceOf('Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/538.1'), {
    type: 'desktop',
    name: 'Tizen',
  })
  for (const nothing of ['', '  \n', '/1.0', '\u001b/\u202e'])
    t.same(deviceOf(nothing), { type: 'desktop', name: 'unknown' })
})

t.test('the words of the client come first, where they can be understood', async (t) => {
  t.same(deviceOf('curl/8.5.0', { type: ' Tablet ', name: ' Kasir 3 ' }), { type: 'tablet', name: 'Kasir 3' })
  t.same(deviceOf('curl/8.5.0', { type: 'toaster', name: ' \n' }), { type: 'desktop', name: 'curl' })
})

t.test('a name fits its column and steers no terminal', async (t) => {
  t.equal(deviceOf('', { name: 'PC\u001b[2J\u202e\0\r\nof  Budi\u200b' }).name, 'PC [2J of Budi')
  t.equal(deviceOf('\u001b[2J/1 (Windows NT 10.0)').name, '[2J on Windows')
  t.equal(deviceOf('', { name: '\u{1f5a5}'.repeat(200) }).name, '\u{1f5a5}'.repeat(128))
  t.equal([...deviceOf(`${'x'.repeat(500)}/1 (Windows NT 10.0)`).name].length, 128)
  t.equal(deviceOf(`${'a'.repeat(127)} b`, {}).name, `${'a'.repeat(127)}`)
})

t.test('a long user agent is read in no time', async (t) => {
  for (const text of ['a', ' ', '/', 'Mozilla/5.0 (', '1.', 'version/']) {
    const began = performance.now()
    deviceOf(text.repeat(100_000))
    t.ok(performance.now() - began < 200, text)
  }
})
