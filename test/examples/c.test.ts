import { readFileSync } from 'node:fs'
import t from 'tap'
import { keepsTheProtocol, startDriver } from '../support/example-client.ts'
import { withstandsEveryAttack } from '../support/example-client-attacks.ts'
import { believesNoStranger } from '../support/example-client-runs.ts'
import { asksTheServer } from '../support/example-client-server.ts'
import { cClient, compile, SOURCE } from './c-client.ts'

t.test('the build line at its head builds it, without a word', async (t) => {
  const line = /^ \* {3}cc (.*)$/m.exec(readFileSync(SOURCE, 'utf8'))?.[1] ?? ''
  const args = line
    .replace(' kunci_client.c ', ` ${SOURCE} `)
    .replace('-o kunci_client ', '-o plain ')
    .split(' ')
  t.ok(args.includes('-Wall') && args.includes('-Wextra'), line)
  t.strictSame(compile([...args, '-Wpedantic', '-std=c11']), { isBuilt: true, stderr: '' })
})

const JSON_TEXTS = [
  ...['{}', '[]', '""', '0', '-0', '1e5', '-1.5E-3', '1E+2', 'true', 'false', 'null', ' \t\r\n{ } '],
  ...[
    '[1,2]',
    '[[[[]]]]',
    '{"a":{"b":[{"c":""}]}}',
    '"\\u00e9\\ud83d\\ude00\\n\\"\\\\\\/"',
    '"é😀"',
    '"\u007f"',
  ],
  ...['{"a":1,"a":2}', '{"":0}', `${'['.repeat(15)}${']'.repeat(15)}`],
]
const NO_JSON_TEXTS = [
  ...[
    '',
    ' ',
    '{',
    '}',
    '[',
    ']',
    '[1',
    '[1,',
    '[1,]',
    '[,1]',
    '[1 2]',
    '{"a"}',
    '{"a":}',
    '{"a":1,}',
    '{a:1}',
  ],
  ...[
    '{"a" 1}',
    '{1:1}',
    '"',
    '"a',
    '"\\',
    '"\\"',
    '"\\x"',
    '"\\u12"',
    '"\\u12G4"',
    '"\n"',
    '"\u0000"',
    "'a'",
  ],
  ...['01', '-', '+1', '1.', '.5', '1e', '1e+', '0x1', 'NaN', 'Infinity', 'tru', 'True', 'nul', 'truefalse'],
  ...[
    '{} {}',
    '{}x',
    '{}\u0000',
    '\ufeff{}',
    '{"a":1 "b":2}',
    '{"a":1}}',
    '[}',
    '{]',
    '/**/{}',
    '['.repeat(5000),
  ],
]

t.test('its JSON reader takes what is JSON and nothing else', async (t) => {
  const ask = startDriver(t, cClient.driver)
  for (const json of JSON_TEXTS) t.not(await ask('json', json, 'none'), 'refused', JSON.stringify(json))
  for (const json of NO_JSON_TEXTS)
    t.equal(await ask('json', json, 'a'), 'refused', JSON.stringify(json).slice(0, 60))
})

t.test('its JSON reader finds a member of the object itself, and no ambiguous one', async (t) => {
  const ask = startDriver(t, cClient.driver)
  const found = async (json: string) => `${await ask('json', json, 'name')}`
  t.equal(await found('{"name":1}'), '1')
  t.equal(await found(' { "x" : [ "name" , { "name" : 2 } ] , "name" : { "name" : 3 } } '), '{ "name" : 3 }')
  t.equal(await found('{"x":"\\"name\\":1","name":"\\"}"}'), '"\\"}"')
  for (const json of [
    '{}',
    '[]',
    '"name"',
    '[{"name":1}]',
    '{"x":{"name":1}}',
    '{"name":1,"name":1}',
    '{"Name":1}',
  ])
    t.equal(await found(json), '', json)
})

const HTTP_REPLIES: readonly [string, string | null][] = [
  ['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}', '200 {}'],
  ['HTTP/1.0 401 No\r\ncontent-length:2 \r\n\r\n{}', '401 {}'],
  ['HTTP/1.1 200 \r\n\r\n{}', '200 {}'],
  ['HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1;a=b\r\n{\r\n01\r\n}\r\n0\r\n\r\n', '200 {}'],
  ['HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}', null],
  ['HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}', null],
  ['HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}', null],
  ['HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}', null],
  ['HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n', null],
  ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\r\n0\r\n\r\n', null],
  ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n', null],
  ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}\r\n0\r\n\r\n', null],
  ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n', null],
  ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n{}', null],
  ['HTTP/1.1 2x0 OK\r\n\r\n{}', null],
  ['HTTP/2 200\r\n\r\n{}', null],
  ['HTTP/1.1 200 OK\r\n', null],
  ['HTTP/1.1 200 OK\n\n{}', null],
  ['\r\n', null],
  ['', null],
]

t.test('its HTTP reader takes whole replies, in each framing, and no others', async (t) => {
  const ask = startDriver(t, cClient.driver)
  for (const [bytes, expected] of HTTP_REPLIES) {
    const answer = await ask('http', bytes)
    t.equal(answer === 'refused' ? null : answer.join(' '), expected, JSON.stringify(bytes))
  }
})

keepsTheProtocol(t, cClient)
believesNoStranger(t, cClient)
asksTheServer(t, cClient)
withstandsEveryAttack(t, cClient)
