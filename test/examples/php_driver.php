<?php
/** Answers each line of stdin with a line: the functions of the PHP client, for the published vectors. */

declare(strict_types=1);

namespace KunciClient;

require __DIR__ . '/../../examples/php/kunci_client.php';

function session(string $suite, string $id, string $key, string $iv, string $token): Session
{
    return new Session($suite, $id, $key, $iv, $token);
}

function pin(string $kid, string $public): array
{
    return ['kid' => $kid, 'public' => $public];
}

function answer(string $command, array $words): array
{
    switch ($command) {
        case 'fingerprint':
            return [fingerprint($words[0], array_chunk(array_slice($words, 1), 2))];
        case 'public':
            return [public_key(...$words)];
        case 'shared':
            return [shared_secret(...$words)];
        case 'hello':
            return [hello(...$words)];
        case 'schedule':
            [$suite, $kid, $pinned, $client_public, $id, $expires_in, $server_public, $ss1, $ss2] = $words;
            $welcome = ['session_id' => $id, 'expires_in' => (int) $expires_in, 'public' => $server_public];
            return array_values(schedule($suite, pin($kid, $pinned), $client_public, $welcome, $ss1, $ss2));
        case 'welcome':
            [$suite, $kid, $pinned, $private, $body] = $words;
            $session = welcome($suite, pin($kid, $pinned), $private, $body);
            return [$session->id, $session->key, $session->iv, $session->token];
        case 'request':
            [$seq, $op, $salt, $plaintext] = array_slice($words, 5);
            $session = session(...array_slice($words, 0, 5));
            $request = seal_request($session, (int) $seq, $op, $salt, $plaintext);
            return [$request->body, $request->hash];
        case 'reply':
            [$seq, $op, $hash, $body] = array_slice($words, 5);
            $request = new Request((int) $seq, $op, '', $hash);
            return [open_reply(session(...array_slice($words, 0, 5)), $request, $body)];
        case 'verdict':
            return [json_encode(verdict(decode($words[0])))];
    }
}

while (($line = fgets(STDIN)) !== false) {
    [$command, $words] = [...explode(' ', rtrim($line, "\n"), 2), ''];
    $words = array_map(fn ($word) => $word === '-' ? '' : hex2bin($word), explode(' ', $words));
    try {
        echo implode(' ', array_map(fn ($word) => bin2hex($word), answer($command, $words))), "\n";
    } catch (Unavailable) {
        echo "refused\n";
    }
}
