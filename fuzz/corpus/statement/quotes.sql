SELECT E'a\'b', $$x$$, $t$y$t$, U&'\6F0F', N'c', x'00', b'01', "q""r", '漏''斗' -- end
/* a /* b */ c */