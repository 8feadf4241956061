/** Every spelling of a secret that a placement writes or an upstream is likely to echo, without what depends on its surroundings. */
export function formsOf(secret: string): Buffer[] {
  const bytes = Buffer.from(secret);
  const percent = encodeURIComponent(secret);
  const base64 = [0, 1, 2].map((shift) => {
    // The first and last characters hold bits of what is beside the secret.
    const text = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    return text.slice(shift === 0 ? 0 : shift + 1, text.length - 1);
  });
  const forms = [secret, percent, percent.toLowerCase(), JSON.stringify(secret).slice(1, -1), ...base64];
  return [...new Set([...forms, bytes.toString('hex')])].map((form) => Buffer.from(form));
}

/** Which of the forms the bytes hold. */
export function found(bytes: Buffer, forms: readonly Buffer[]): string[] {
  return forms.filter((form) => bytes.includes(form)).map(String);
}
