/** What a client may show its user, by code: English and Indonesian. */
export const TEXTS = {
  ok: ['The licence is valid.', 'Lisensi berlaku.'],
  licence_invalid: ['This licence is not valid for this tool.', 'Lisensi ini tidak berlaku untuk alat ini.'],
  licence_expired: ['The licence has expired.', 'Lisensi telah kedaluwarsa.'],
  device_limit: ['The licence is in use on another machine.', 'Lisensi sedang digunakan di komputer lain.'],
  seat_limit: ['All seats of this licence are in use.', 'Semua slot lisensi ini sedang digunakan.'],
  device_weak: [
    'Too little is known of this machine to enrol it.',
    'Informasi komputer ini terlalu sedikit untuk didaftarkan.',
  ],
} as const satisfies Record<string, readonly [en: string, id: string]>

export type VerdictCode = keyof typeof TEXTS
export type Language = 'en' | 'id'

export function textOf(code: VerdictCode, language: Language = 'en'): string {
  return TEXTS[code][language === 'en' ? 0 : 1]
}
