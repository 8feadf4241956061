import { test } from 'vitest';
import { fuzzClientHello } from '../fuzz/clientHello.ts';

test('where OpenSSL reads a server name out of a mutated ClientHello, ours is the same or there is none', async () => {
  await fuzzClientHello(2, 20_251_125);
});
