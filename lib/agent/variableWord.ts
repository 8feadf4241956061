/** `openai-key` → `OPENAI_KEY` */
export function variableWord(name: string): string {
  return name.toUpperCase().replace(/[^A-Z0-9]/g, '_');
}
