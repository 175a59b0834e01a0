# Boot sectors that stand for guests in the tests, one for each value of KIND (`as --defsym KIND=n`):
#   0 echo: "ready", then every key read by int 16h goes to the serial port and the screen
#   1 slow echo: as 0, but looks at the keyboard only every quarter of a second or so
#   2 power off: "off", then PIIX4's soft-off
#   3 power button: "ready", then soft-off when the ACPI power button is pressed
#   4 reset: "ready", then a reset through the keyboard controller
#   5 writer: writes its second sector for ever
# Assembled by `as --32` and `objcopy -O binary`.

        .code16
        .globl _start
_start: cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        # PIIX4's power management registers, as SeaBIOS leaves them: PM1a at 0x600.
        .if KIND == 2
        movw    $(off - _start + 0x7c00), %si
        call    print
        movw    $0x604, %dx
        movw    $0x2000, %ax            # SLP_EN, type 0: soft off
        outw    %ax, %dx
        .else
        .if KIND == 3
        movw    $0x602, %dx             # PM1_EN: the power button. QEMU forgets one that is pressed before.
        movw    $0x100, %ax
        outw    %ax, %dx
        .endif
        movw    $(ready - _start + 0x7c00), %si
        call    print
        .endif
        .if KIND == 3
1:      movw    $0x600, %dx             # PM1_STS
        inw     %dx, %ax
        testw   $0x100, %ax
        jz      1b
        movw    $0x604, %dx
        movw    $0x2000, %ax
        outw    %ax, %dx
        .endif
        .if KIND == 4
        movb    $0xfe, %al
        outb    %al, $0x64
        .endif
        .if KIND == 5
6:      movw    %ds, %ax
        movw    %ax, %es
        movw    $0x7c00, %bx
        movw    $0x0301, %ax            # int 13h: write one sector
        movw    $0x0002, %cx
        movw    $0x0080, %dx
        int     $0x13
        jmp     6b
        .endif
        .if KIND < 2
next:
        .if KIND == 1
        # Wait for five ticks of the BIOS's clock, with interrupts on.
        movw    $5, %cx
2:      movb    0x46c, %bl
3:      cmpb    0x46c, %bl
        je      3b
        loop    2b
        .endif
        xorb    %ah, %ah
        int     $0x16
        pushw   %ax
        call    put
        popw    %ax
        movb    $0x0e, %ah
        movw    $7, %bx
        int     $0x10
        jmp     next
        .endif
stop:   hlt
        jmp     stop

print:  lodsb
        testb   %al, %al
        jz      5f
        call    put
        jmp     print
put:    movb    %al, %ah
        movw    $0x3fd, %dx
4:      inb     %dx, %al
        testb   $0x20, %al
        jz      4b
        movb    %ah, %al
        movw    $0x3f8, %dx
        outb    %al, %dx
5:      ret

ready:  .asciz  "ready\r\n"
off:    .asciz  "off\r\n"
        .org    510
        .word   0xaa55
