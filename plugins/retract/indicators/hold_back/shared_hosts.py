"""Hosts that belong to everybody: a domain indicator on one of them would hit good mail.

URL shorteners, free mail, the large offices and file sharing, forms and large sites, search,
as they occur both in phish and in daily mail, and as careless lists name them. Hosts that the
Public Suffix List knows (blogspot.com, github.io, …) need no entry here. ``*.`` in front means
every sub-domain.
"""

from __future__ import annotations

from typing import Final

_HOSTS = """
bit.ly bitly.com buff.ly cutt.ly dlvr.it fb.me goo.gl goo.su ift.tt is.gd j.mp lnkd.in
ow.ly qr.codes rb.gy rebrand.ly s.id shorturl.at t.co t.ly t.me tiny.cc tinyurl.com
trib.al urlz.fr v.gd x.co youtu.be

126.com 163.com aol.com gmail.com gmx.com gmx.de gmx.net googlemail.com hotmail.co.uk
hotmail.com hotmail.de hotmail.fr icloud.com live.com mac.com mail.com mail.ru me.com msn.com
outlook.com proton.me protonmail.com qq.com rocketmail.com t-online.de web.de yahoo.co.jp
yahoo.co.uk yahoo.com yahoo.de yahoo.fr yandex.com yandex.ru ymail.com zoho.com

forms.gle g.co google.com *.google.com googleapis.com *.googleapis.com googlegroups.com
googleusercontent.com *.googleusercontent.com gstatic.com withgoogle.com
youtube.com *.youtube.com

1drv.com 1drv.ms aka.ms azure.com azureedge.net azurewebsites.net *.blob.core.windows.net
dynamics.com *.live.com microsoft.com *.microsoft.com microsoftonline.com
*.microsoftonline.com msecnd.net office.com *.office.com office.net *.office.net
office365.com *.office365.com onmicrosoft.com sharepoint.com sway.com windows.net

adobe.com *.adobe.com airtable.com amazon.com *.amazon.com amazonaws.com apple.com
*.apple.com box.com *.box.com calendly.com canva.com *.canva.com cloudflare.com
cloudfront.net constantcontact.com *.constantcontact.com discord.com docusign.com
*.docusign.com docusign.net *.docusign.net dropbox.com *.dropbox.com
dropboxusercontent.com ebay.com evernote.com *.evernote.com facebook.com *.facebook.com
fastly.net figma.com getresponse.com github.com *.github.com githubusercontent.com
*.githubusercontent.com gitlab.com gravatar.com hubspot.com instagram.com *.instagram.com
issuu.com jotform.com *.jotform.com linkedin.com *.linkedin.com list-manage.com
mailchi.mp mailchimp.com *.mailchimp.com mediafire.com medium.com mega.nz netflix.com
notion.site notion.so pastebin.com paypal.com *.paypal.com pinterest.com reddit.com
salesforce.com sendgrid.net sendspace.com slack.com *.slack.com soundcloud.com spotify.com
surveymonkey.com *.surveymonkey.com telegram.org trello.com tumblr.com twitter.com
*.twitter.com typeform.com vimeo.com wa.me we.tl weebly.com wetransfer.com
*.wetransfer.com whatsapp.com *.whatsapp.com wikipedia.org *.wikipedia.org wix.com
wixsite.com wordpress.com wordpress.org x.com zendesk.com zoom.us *.zoom.us

archive.org *.archive.org baidu.com bing.com *.bing.com cloudflare-ipfs.com duckduckgo.com
dweb.link ipfs.io translate.goog
"""

SHARED_HOSTS: Final = tuple(_HOSTS.split())
