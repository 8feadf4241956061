import { expect, test } from 'vitest';
import { wildcardTooWide } from './publicSuffix.ts';

test.each([
  '*.com',
  '*.co.uk',
  '*.github.io',
  '*.vercel.app',
  '*.workers.dev',
  '*.githubusercontent.com',
  '*.svc',
  '*.co.uk:8443',
])('%s is too wide', (pattern) => expect(wildcardTooWide(pattern)).toBe(true));

test.each(['*.example.com', '*.api.example.co.uk', '*.me.github.io', '*.corp.internal', 'co.uk', '*.example.com:8443'])(
  '%s is not',
  (pattern) => expect(wildcardTooWide(pattern)).toBe(false),
);
