const ALIGNMENTS = 3;
/** Shorter than this a form could be anywhere by chance. */
const LEAST_BYTES = 8;

/** Every form that secret bytes could be written in: as they are, base64 (alone or anywhere within a longer one), base64url, hex, percent-encoded, JSON. */
export function formsOf(secret: Buffer): Buffer[] {
  const texts = new Set<string>([secret.toString('hex'), secret.toString('hex').toUpperCase()]);
  for (let before = 0; before < ALIGNMENTS; before += 1) {
    // Without the characters at both ends, which depend on the neighbours too.
    const encoded = Buffer.concat([Buffer.alloc(before), secret])
      .toString('base64')
      .replaceAll('=', '');
    const inner = encoded.slice(before === 0 ? 0 : before + 1, -1);
    texts.add(inner);
    texts.add(inner.replaceAll('+', '-').replaceAll('/', '_'));
  }
  const text = secret.toString('utf8');
  if (Buffer.from(text).equals(secret)) {
    texts.add(encodeURIComponent(text));
    texts.add(JSON.stringify(text).slice(1, -1));
  }
  return [secret, ...[...texts].map((one) => Buffer.from(one))].filter((form) => form.length >= LEAST_BYTES);
}

/** `name of the secret in name of the file`, for each of them that is found. */
export function found(secrets: ReadonlyMap<string, Buffer>, files: readonly (readonly [string, Buffer])[]): string[] {
  const forms = [...secrets].map(([name, secret]) => [name, formsOf(secret)] as const);
  return files.flatMap(([file, content]) =>
    forms.filter(([, all]) => all.some((form) => content.includes(form))).map(([name]) => `${name} in ${file}`),
  );
}
