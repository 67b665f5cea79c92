"""What the synthetic mail says, by language.

Placeholders: {name} the reader's given name, {sender} the writer's, {number}, {amount},
{day}, {company}. Links and buttons are put in by whoever composes the message.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """Subject, paragraphs and, where there is one, the words on the button."""

    subject: str
    paragraphs: tuple[str, ...]
    button: str = ""


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation between colleagues: an opening and what may be answered."""

    opening: Text
    replies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Phrases:
    """One language's stock of texts."""

    charset: str
    """What mail programs of the region still like to send."""
    greeting: str
    regards: str
    reply_prefix: str
    unsubscribe: str
    threads: tuple[Thread, ...]
    newsletter: Text
    receipt: Text
    shared_document: Text
    announcement: Text
    account_lure: Text
    parcel_lure: Text
    document_lure: Text
    invoice_lure: Text
    spam: Text


_ENGLISH = Phrases(
    charset="utf-8",
    greeting="Hi {name},",
    regards="Best regards,",
    reply_prefix="Re: ",
    unsubscribe="Unsubscribe",
    threads=(
        Thread(
            Text(
                "Agenda for {day}",
                (
                    "could you add your points for {day} to the agenda? I would like to keep it "
                    "to forty-five minutes.",
                    "Room 3.{number} is booked until noon.",
                ),
            ),
            (
                "Two points from my side: the budget, and who covers the support desk in August.",
                "Thanks, added. I will be five minutes late.",
                "Works for me. See you there.",
            ),
        ),
        Thread(
            Text(
                "Draft of the offer for {company}",
                (
                    "the draft for {company} is on the share. Legal has not seen section 4 yet.",
                    "Please have a look at the prices before I send it.",
                ),
            ),
            (
                "The discount in line 12 is last year's, otherwise fine.",
                "Fixed. It goes out tomorrow morning unless somebody shouts.",
            ),
        ),
        Thread(
            Text(
                "Printer on the second floor",
                ("it is jammed again, and the service number on the sticker is out of date.",),
            ),
            ("I have reported it, ticket {number}.", "They come on {day}."),
        ),
    ),
    newsletter=Text(
        "This week: {number} ideas worth your time",
        (
            "Good morning! Here is what our editors read this week.",
            "How a small bakery cut its energy bill by a third, and what others can copy.",
            "The quiet return of the night train: a map of all new lines.",
        ),
        "Read on",
    ),
    receipt=Text(
        "Your receipt {number}",
        (
            "thank you for your order. We have charged {amount} to your card.",
            "The invoice is attached.",
        ),
        "Show the order",
    ),
    shared_document=Text(
        "{sender} shared “Plan {number}” with you",
        ("{sender} has given you access to this document.",),
        "Open",
    ),
    announcement=Text(
        "Maintenance on {day}",
        (
            "the file service is not available on {day} between 20:00 and 23:00.",
            "Questions to the service desk, please.",
        ),
    ),
    account_lure=Text(
        "Action required: your password expires today",
        (
            "the password of your mailbox expires in 24 hours. To keep your messages, confirm "
            "that you want to go on using the current one.",
            "Messages {number} are on hold.",
        ),
        "Keep current password",
    ),
    parcel_lure=Text(
        "Your parcel {number} could not be delivered",
        (
            "our driver did not find anybody. A fee of {amount} is due for a second attempt.",
            "After 48 hours the parcel goes back to the sender.",
        ),
        "Schedule delivery",
    ),
    document_lure=Text(
        "You have received a secure document",
        ("a document for your signature is waiting: “Salary adjustment {number}”.",),
        "Review document",
    ),
    invoice_lure=Text(
        "Overdue invoice {number}",
        (
            "we are still waiting for the payment of {amount}. The invoice is attached once more.",
            "Please settle it today to avoid further steps.",
        ),
    ),
    spam=Text(
        "You have been selected: {amount} bonus",
        (
            "only today: double your first deposit, no questions asked.",
            "Over {number} winners this month alone!",
        ),
        "Claim the bonus",
    ),
)

_GERMAN = Phrases(
    charset="iso-8859-1",
    greeting="Hallo {name},",
    regards="Viele Grüße",
    reply_prefix="AW: ",
    unsubscribe="Abmelden",
    threads=(
        Thread(
            Text(
                "Tagesordnung für {day}",
                (
                    "trägst du bitte deine Punkte für {day} ein? Mehr als eine Dreiviertelstunde "
                    "möchte ich nicht einplanen.",
                    "Raum 3.{number} ist bis mittags frei.",
                ),
            ),
            (
                "Von mir zwei: das Budget, und wer im August den Support übernimmt.",
                "Danke, steht drin. Ich komme fünf Minuten später.",
                "Passt. Bis dann.",
            ),
        ),
        Thread(
            Text(
                "Angebot an {company}, Entwurf",
                (
                    "der Entwurf für {company} liegt auf dem Laufwerk. Abschnitt 4 hat die "
                    "Rechtsabteilung noch nicht gesehen.",
                    "Schaust du bitte über die Preise, bevor ich es verschicke?",
                ),
            ),
            (
                "Der Nachlass in Zeile 12 ist vom letzten Jahr, sonst gut.",
                "Geändert. Geht morgen früh raus.",
            ),
        ),
    ),
    newsletter=Text(
        "Gartenbrief: {number} Handgriffe für diese Woche",
        (
            "Guten Morgen! Das steht im Garten jetzt an.",
            "Tomaten ausgeizen, aber richtig: fünf Bilder zeigen, wie es geht.",
            "Warum der Rasen jetzt Ruhe braucht und was der Igel davon hat.",
        ),
        "Weiterlesen",
    ),
    receipt=Text(
        "Ihre Bestellung {number}",
        (
            "vielen Dank für Ihren Einkauf. Wir haben {amount} von Ihrem Konto abgebucht.",
            "Die Rechnung finden Sie im Anhang.",
        ),
        "Bestellung ansehen",
    ),
    shared_document=Text(
        "{sender} hat „Plan {number}“ für Sie freigegeben",
        ("{sender} hat Ihnen Zugriff auf dieses Dokument gegeben.",),
        "Öffnen",
    ),
    announcement=Text(
        "Wartung am {day}",
        (
            "der Dateidienst steht am {day} von 20 bis 23 Uhr nicht zur Verfügung.",
            "Fragen bitte an den Service-Desk.",
        ),
    ),
    account_lure=Text(
        "Dringend: Ihr Postfach wird heute gesperrt",
        (
            "das Kennwort Ihres Postfachs läuft in 24 Stunden ab. Bestätigen Sie, dass Sie es "
            "weiter benutzen möchten.",
            "{number} Nachrichten werden zurückgehalten.",
        ),
        "Kennwort behalten",
    ),
    parcel_lure=Text(
        "Ihr Paket {number} konnte nicht zugestellt werden",
        (
            "unser Fahrer hat Sie nicht angetroffen. Für die zweite Zustellung fallen {amount} an.",
            "Nach 48 Stunden geht das Paket zurück an den Absender.",
        ),
        "Zustellung planen",
    ),
    document_lure=Text(
        "Vertrauliches Dokument zur Unterschrift",
        ("für Sie liegt ein Dokument bereit: „Gehaltsanpassung {number}“.",),
        "Dokument prüfen",
    ),
    invoice_lure=Text(
        "Mahnung zur Rechnung {number}",
        (
            "wir warten noch auf {amount}. Die Rechnung hängt noch einmal an.",
            "Bitte begleichen Sie den Betrag heute, um weitere Schritte zu vermeiden.",
        ),
    ),
    spam=Text(
        "Sie wurden ausgewählt: {amount} Bonus",
        (
            "nur heute: Wir verdoppeln Ihre erste Einzahlung.",
            "Schon {number} Gewinner in diesem Monat!",
        ),
        "Bonus sichern",
    ),
)

_FRENCH = Phrases(
    charset="utf-8",
    greeting="Bonjour {name},",
    regards="Cordialement,",
    reply_prefix="RE: ",
    unsubscribe="Se désabonner",
    threads=(
        Thread(
            Text(
                "Ordre du jour de {day}",
                (
                    "peux-tu ajouter tes points pour {day} ? J'aimerais que la réunion ne dépasse "
                    "pas trois quarts d'heure.",
                    "La salle 3.{number} est réservée jusqu'à midi.",
                ),
            ),
            (
                "Deux points de mon côté : le budget, et l'astreinte du mois d'août.",
                "Merci, c'est noté. J'arriverai avec cinq minutes de retard.",
                "Parfait pour moi.",
            ),
        ),
    ),
    newsletter=Text(
        "La lettre du vendredi : {number} lectures",
        (
            "Bonjour ! Voici ce que la rédaction a lu cette semaine.",
            "Le retour discret du train de nuit : la carte de toutes les lignes.",
            "Réparer plutôt que jeter : l'atelier qui fait école.",
        ),
        "Lire la suite",
    ),
    receipt=Text(
        "Votre commande n° {number}",
        (
            "merci pour votre achat. Nous avons débité {amount} de votre carte.",
            "La facture est jointe à ce message.",
        ),
        "Voir la commande",
    ),
    shared_document=Text(
        "{sender} a partagé « Plan {number} » avec vous",
        ("{sender} vous a donné accès à ce document.",),
        "Ouvrir",
    ),
    announcement=Text(
        "Maintenance {day}",
        ("le service de fichiers sera indisponible {day} de 20 h à 23 h.",),
    ),
    account_lure=Text(
        "Action requise : votre messagerie sera suspendue",
        (
            "le mot de passe de votre messagerie expire dans 24 heures. Confirmez que vous "
            "souhaitez le conserver.",
            "{number} messages sont en attente.",
        ),
        "Conserver le mot de passe",
    ),
    parcel_lure=Text(
        "Votre colis {number} n'a pas pu être livré",
        (
            "notre livreur n'a trouvé personne. Des frais de {amount} sont dus pour un second "
            "passage.",
        ),
        "Programmer la livraison",
    ),
    document_lure=Text(
        "Un document sécurisé vous attend",
        ("un document attend votre signature : « Révision de salaire {number} ».",),
        "Consulter",
    ),
    invoice_lure=Text(
        "Facture impayée {number}",
        ("sauf erreur, {amount} restent dus. La facture est de nouveau jointe.",),
    ),
    spam=Text(
        "Vous êtes sélectionné : {amount} offerts",
        ("aujourd'hui seulement, nous doublons votre premier dépôt.", "{number} gagnants !"),
        "J'en profite",
    ),
)

_SPANISH = Phrases(
    charset="utf-8",
    greeting="Hola, {name}:",
    regards="Un saludo,",
    reply_prefix="RE: ",
    unsubscribe="Darse de baja",
    threads=(
        Thread(
            Text(
                "Orden del día del {day}",
                (
                    "¿añades tus puntos para el {day}? Me gustaría no pasar de tres cuartos de "
                    "hora.",
                    "La sala 3.{number} está reservada hasta mediodía.",
                ),
            ),
            (
                "Dos puntos míos: el presupuesto y las guardias de agosto.",
                "Gracias, añadidos. Llegaré cinco minutos tarde.",
            ),
        ),
    ),
    newsletter=Text(
        "El boletín: {number} ideas para esta semana",
        (
            "¡Buenos días! Esto es lo que hemos leído.",
            "La vuelta silenciosa del tren nocturno, en un mapa.",
            "Cómo una panadería pequeña redujo su factura de la luz.",
        ),
        "Seguir leyendo",
    ),
    receipt=Text(
        "Su pedido {number}",
        ("gracias por su compra. Hemos cargado {amount} en su tarjeta.", "Adjuntamos la factura."),
        "Ver el pedido",
    ),
    shared_document=Text(
        "{sender} ha compartido «Plan {number}» contigo",
        ("{sender} te ha dado acceso a este documento.",),
        "Abrir",
    ),
    announcement=Text(
        "Mantenimiento el {day}",
        ("el servicio de ficheros no estará disponible el {day} de 20:00 a 23:00.",),
    ),
    account_lure=Text(
        "Urgente: su buzón será bloqueado hoy",
        (
            "la contraseña de su buzón caduca en 24 horas. Confirme que desea conservarla.",
            "{number} mensajes están retenidos.",
        ),
        "Conservar contraseña",
    ),
    parcel_lure=Text(
        "Su paquete {number} no se pudo entregar",
        ("nuestro repartidor no encontró a nadie. Hay que abonar {amount} para otro intento.",),
        "Programar la entrega",
    ),
    document_lure=Text(
        "Tiene un documento seguro pendiente",
        ("un documento espera su firma: «Revisión salarial {number}».",),
        "Revisar documento",
    ),
    invoice_lure=Text(
        "Factura vencida {number}",
        ("seguimos esperando el pago de {amount}. Adjuntamos de nuevo la factura.",),
    ),
    spam=Text(
        "Ha sido seleccionado: {amount} de regalo",
        ("solo hoy duplicamos su primer depósito.", "¡Más de {number} ganadores!"),
        "Quiero mi regalo",
    ),
)

_POLISH = Phrases(
    charset="iso-8859-2",
    greeting="Cześć {name},",
    regards="Pozdrawiam",
    reply_prefix="Odp: ",
    unsubscribe="Wypisz się",
    threads=(
        Thread(
            Text(
                "Plan spotkania, {day}",
                (
                    "dopisz proszę swoje punkty na {day}. Chciałbym zmieścić się w trzech "
                    "kwadransach.",
                    "Sala 3.{number} jest zajęta dla nas do południa.",
                ),
            ),
            (
                "Ode mnie dwa: budżet i dyżury w sierpniu.",
                "Dzięki, dopisane. Spóźnię się pięć minut.",
            ),
        ),
    ),
    newsletter=Text(
        "Biuletyn: {number} pomysłów na ten tydzień",
        ("Dzień dobry! Oto co czytaliśmy.", "Cichy powrót nocnych pociągów: mapa nowych połączeń."),
        "Czytaj dalej",
    ),
    receipt=Text(
        "Twoje zamówienie {number}",
        ("dziękujemy za zakupy. Pobraliśmy {amount} z Twojej karty.", "Faktura w załączniku."),
        "Zobacz zamówienie",
    ),
    shared_document=Text(
        "{sender} udostępnia „Plan {number}”",
        ("{sender} daje Ci dostęp do tego dokumentu.",),
        "Otwórz",
    ),
    announcement=Text(
        "Przerwa techniczna, {day}",
        ("serwer plików będzie niedostępny: {day}, godziny 20–23.",),
    ),
    account_lure=Text(
        "Pilne: Twoja skrzynka zostanie zablokowana",
        ("hasło do skrzynki wygasa za 24 godziny. Potwierdź, że chcesz je zachować.",),
        "Zachowaj hasło",
    ),
    parcel_lure=Text(
        "Paczka {number} nie została doręczona",
        ("kurier nikogo nie zastał. Opłata za ponowne doręczenie wynosi {amount}.",),
        "Zaplanuj doręczenie",
    ),
    document_lure=Text(
        "Dokument do podpisu",
        ("czeka na Ciebie dokument: „Zmiana wynagrodzenia {number}”.",),
        "Sprawdź dokument",
    ),
    invoice_lure=Text(
        "Zaległa faktura {number}",
        ("nadal czekamy na wpłatę {amount}. Fakturę załączamy ponownie.",),
    ),
    spam=Text(
        "Wybraliśmy Ciebie: bonus {amount}",
        ("tylko dziś podwajamy pierwszą wpłatę.", "Już {number} zwycięzców!"),
        "Odbierz bonus",
    ),
)

_JAPANESE = Phrases(
    charset="iso-2022-jp",
    greeting="{name}さん",
    regards="よろしくお願いします。",
    reply_prefix="Re: ",
    unsubscribe="配信停止",
    threads=(
        Thread(
            Text(
                "{day}の会議について",
                (
                    "{day}の議題を追記していただけますか。45分以内に終わらせたいと思います。",
                    "会議室3.{number}は正午まで予約済みです。",
                ),
            ),
            (
                "予算と8月のサポート体制の二点をお願いします。",
                "追記しました。5分ほど遅れます。",
            ),
        ),
    ),
    newsletter=Text(
        "今週の読みもの {number}選",
        ("おはようございます。今週のおすすめです。", "夜行列車が静かに帰ってきた:新路線の地図。"),
        "続きを読む",
    ),
    receipt=Text(
        "ご注文 {number} の領収書",
        ("ご購入ありがとうございます。カードに{amount}を請求しました。", "請求書を添付します。"),
        "注文を見る",
    ),
    shared_document=Text(
        "{sender}さんが「計画{number}」を共有しました",
        ("{sender}さんがこの文書へのアクセスを許可しました。",),
        "開く",
    ),
    announcement=Text(
        "{day}のメンテナンス", ("{day}の20時から23時までファイルサーバーを停止します。",)
    ),
    account_lure=Text(
        "【重要】メールボックスのパスワードが本日失効します",
        (
            "24時間以内に現在のパスワードの継続使用を確認してください。",
            "{number}件の未着メールがあります。",
        ),
        "パスワードを維持する",
    ),
    parcel_lure=Text(
        "お荷物 {number} をお届けできませんでした",
        ("ご不在のため持ち帰りました。再配達には{amount}の手数料がかかります。",),
        "再配達を依頼する",
    ),
    document_lure=Text(
        "署名が必要な文書が届いています",
        ("「給与改定通知{number}」をご確認ください。",),
        "文書を確認",
    ),
    invoice_lure=Text(
        "未払い請求書 {number}",
        ("{amount}のお支払いが確認できません。請求書を再度添付します。",),
    ),
    spam=Text(
        "当選のお知らせ:{amount}ボーナス",
        ("本日限り、初回入金を2倍にします。", "今月の当選者は{number}名!"),
        "受け取る",
    ),
)

_PORTUGUESE = Phrases(
    charset="utf-8",
    greeting="Olá, {name},",
    regards="Atenciosamente,",
    reply_prefix="RES: ",
    unsubscribe="Cancelar inscrição",
    threads=(
        Thread(
            Text(
                "Pauta de {day}",
                (
                    "você inclui seus pontos para {day}? Queria ficar em quarenta e cinco minutos.",
                    "A sala 3.{number} está reservada até o meio-dia.",
                ),
            ),
            ("Dois pontos meus: o orçamento e o plantão de agosto.", "Obrigado, incluí."),
        ),
    ),
    newsletter=Text(
        "A carta da semana: {number} leituras",
        ("Bom dia! O que lemos nesta semana.", "A volta silenciosa do trem noturno, em um mapa."),
        "Continuar lendo",
    ),
    receipt=Text(
        "Seu pedido {number}",
        ("obrigado pela compra. Cobramos {amount} no seu cartão.", "A nota fiscal está anexa."),
        "Ver o pedido",
    ),
    shared_document=Text(
        "{sender} compartilhou “Plano {number}” com você",
        ("{sender} deu a você acesso a este documento.",),
        "Abrir",
    ),
    announcement=Text(
        "Manutenção em {day}",
        ("o serviço de arquivos estará indisponível em {day}, das 20h às 23h.",),
    ),
    account_lure=Text(
        "Ação necessária: sua caixa de entrada será bloqueada",
        ("a senha da sua caixa expira em 24 horas. Confirme que deseja mantê-la.",),
        "Manter a senha",
    ),
    parcel_lure=Text(
        "Seu pacote {number} não pôde ser entregue",
        ("o entregador não encontrou ninguém. Há uma taxa de {amount} para nova tentativa.",),
        "Agendar entrega",
    ),
    document_lure=Text(
        "Você recebeu um documento seguro",
        ("um documento aguarda sua assinatura: “Reajuste salarial {number}”.",),
        "Revisar documento",
    ),
    invoice_lure=Text(
        "Fatura vencida {number}",
        ("ainda aguardamos o pagamento de {amount}. A fatura segue novamente em anexo.",),
    ),
    spam=Text(
        "Você foi selecionado: bônus de {amount}",
        ("só hoje dobramos o seu primeiro depósito.", "Mais de {number} ganhadores!"),
        "Resgatar bônus",
    ),
)

PHRASES: dict[str, Phrases] = {
    "en": _ENGLISH,
    "de": _GERMAN,
    "fr": _FRENCH,
    "es": _SPANISH,
    "pl": _POLISH,
    "ja": _JAPANESE,
    "pt": _PORTUGUESE,
}
"""By ISO 639-1 code: the languages that `people` speak."""
